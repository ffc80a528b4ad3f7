"""Draw docs/pipeline.svg: the kinds of stages that dvc.yaml declares, and which kind waits for which.

`python -m benchmarks.pipeline_picture`, after a change of dvc.yaml. Boxes have their places here; arrows, frames and
whether a box stands for several stages are read from dvc.yaml. An arrow that longer ways imply is left out.
"""

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/pipeline.svg"
RESULTS = "champion, report"
KINDS = {"export_baseline": "export", "export_control": "export", "atc_baseline": "atc", "atc_control": "atc"}
KINDS |= {"ascend_eval_baseline": "ascend_eval", "ascend_eval_control": "ascend_eval"}
KINDS |= {"measure_baseline": "measure", "measure_control": "measure", "champion": RESULTS, "report": RESULTS}
EVERYWHERE = "code"
"""Stage that all others depend on; drawing it would hide the rest."""
BOXES = {
    "data": (0.5, 0, "one prepared folder", "data"),
    "listing": (1.5, 0, "its files, a line each", "data"),
    "baseline": (2.5, 0, "the dense model", "training"),
    "sparse": (1.5, 1, "a penalty, if asked for", "training"),
    "control": (3.5, 1, "dense, trained as long", "training"),
    "unstructured": (5, 1, "single weights zeroed", "cutting"),
    "ranking": (1.5, 2, "each tried, one taken", "training"),
    "probe": (0, 3, "cut and measured", "cutting"),
    "prune": (1.5, 3, "cut, with its proof", "cutting"),
    "finetune": (2.5, 4, "learns from the control", "training"),
    "export": (2.5, 5, "ONNX, compared", "export"),
    "timing": (1, 6, "all models in turn", "measuring"),
    "quantize": (2, 6, "int8", "export"),
    "rknn": (3, 6, "Rockchip's compiler", "export"),
    "atc": (4, 6, "Ascend's compiler", "export"),
    "measure": (5, 6, "mAP and speed", "measuring"),
    "measure_int8": (2, 7, "mAP and speed", "measuring"),
    "rknn_eval": (3, 7, "board or simulator", "measuring"),
    "ascend_eval": (4, 7, "board or CPU", "measuring"),
    RESULTS: (2.5, 8, "the model to ship · page, pictures, runs in MLflow", "results"),
}
"""Kind of stage -> column, row, what it is in a few words, what it does."""
COLOURS = {"data": "#e6e9ee", "training": "#cfe3fb", "cutting": "#fde0c2", "export": "#d3efd8"}
COLOURS |= {"measuring": "#e6dbf7", "results": "#fbeaa6"}
ON_REQUEST = ("probes", "quantize.models", "rknn.models")
"""Lists of params.yaml that are empty by default, or name models for a further step."""
WIDTH, HEIGHT, ACROSS, DOWN, EDGE = 134, 44, 148, 76, 12


def waits() -> set[tuple[str, str]]:
    """Pairs of kinds: the second depends on a file of the first, and on nothing between the two that does."""
    stages = {name: body.get("do", body) for name, body in declared().items() if name != EVERYWHERE}
    teacher = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["finetune"]["teacher"]
    direct = {
        (kind(first), kind(second))
        for first, made in stages.items()
        for second, needs in stages.items()
        for out in outputs(made)
        for dep in needs.get("deps", ())
        if kind(first) != kind(second) and meets(out, dep.replace("${finetune.teacher}", teacher))
    }
    return {(a, b) for a, b in direct if not any(c != b and (c, b) in direct and c in after(a, direct) for c in BOXES)}


def declared() -> dict[str, Any]:
    """Stages of dvc.yaml by name."""
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return stages


def kind(name: str) -> str:
    return KINDS.get(name, name)


def outputs(stage: dict[str, Any]) -> Iterator[str]:
    """Paths that a stage writes."""
    for key in ("outs", "metrics", "plots"):
        for out in stage.get(key, ()):
            yield next(iter(out)) if isinstance(out, dict) else out


def meets(out: str, dep: str) -> bool:
    """Whether one is the other or lies in it; `${item}` is any name."""
    pairs = zip(*(path.replace("${item}", "*").split("/") for path in (out, dep)), strict=False)
    return all(fnmatch(a, b) or fnmatch(b, a) for a, b in pairs)


def after(start: str, edges: set[tuple[str, str]]) -> set[str]:
    """All that waits for a kind, directly or not."""
    following = {b for a, b in edges if a == start}
    return following.union(*(after(each, edges) for each in following))


def box(name: str) -> str:
    """A frame with name and caption; a second one behind where there are several, dashes where they are on request."""
    column, row, caption, does = BOXES[name]
    x, y = EDGE + column * ACROSS, EDGE + row * DOWN
    width = WIDTH
    if name == RESULTS:
        x, width = EDGE, 5 * ACROSS + WIDTH
    lists = {body.get("foreach", "")[2:-1] for stage, body in declared().items() if kind(stage) == name}
    dashes = ' stroke-dasharray="5 3"' if lists & {*ON_REQUEST} else ""
    frame = f'width="{width}" height="{HEIGHT}" rx="6" fill="{COLOURS[does]}" stroke="#57606a"{dashes}/>'
    behind = f'<rect x="{x + 4:g}" y="{y + 4:g}" {frame}\n' if lists - {""} else ""
    middle = x + width / 2
    return (
        f'{behind}<rect x="{x:g}" y="{y:g}" {frame}\n'
        f'<text x="{middle:g}" y="{y + 19:g}" font-weight="bold">{name}</text>\n'
        f'<text x="{middle:g}" y="{y + 35:g}" font-size="11">{caption}</text>'
    )


def arrow(first: str, second: str) -> str:
    """From the side within a row and past a row in another column, else from below."""
    (a, above, *_), (b, below, *_) = BOXES[first], BOXES[second]
    if second == RESULTS:
        b = a
    x, y = EDGE + a * ACROSS + WIDTH / 2, EDGE + above * DOWN
    to_x, to_y = EDGE + b * ACROSS + WIDTH / 2, EDGE + below * DOWN - 3
    side, middle = (WIDTH / 2 if b > a else -WIDTH / 2), y + HEIGHT / 2
    if above == below:
        path = f"M{x + side:g},{middle:g} H{to_x - side - 3:g}"
    elif a != b and below > above + 1:
        path = f"M{x + side:g},{middle:g} C{to_x:g},{middle:g} {to_x:g},{middle:g} {to_x:g},{middle + 40:g} V{to_y:g}"
    else:
        between = (y + HEIGHT + to_y) / 2
        path = f"M{x:g},{y + HEIGHT:g} C{x:g},{between:g} {to_x:g},{between:g} {to_x:g},{to_y:g}"
    return f'<path d="{path}" marker-end="url(#tip)"/>'


def picture() -> str:
    """The SVG; raises KeyError with the name of a stage that has no place."""
    width, height = 2 * EDGE + 5 * ACROSS + WIDTH + 4, 2 * EDGE + 8 * DOWN + HEIGHT
    arrows = "\n".join(arrow(*pair) for pair in sorted(waits()))
    boxes = "\n".join(box(name) for name in dict.fromkeys(kind(name) for name in declared() if name != EVERYWHERE))
    notes = ("several frames: one for each percent or model", "dashed: what params.yaml asks for besides")
    legend = "\n".join(
        f'<text x="{width - EDGE:g}" y="{EDGE + 18 + 18 * line:g}" font-size="12" text-anchor="end">{text}</text>'
        for line, text in enumerate(notes)
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" \
font-family="system-ui, sans-serif" font-size="14" text-anchor="middle" fill="#1f2328">
<title>The stages of dvc.yaml and what each waits for</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0,0 L8,4 L0,8 z" fill="#57606a"/></marker></defs>
<rect width="100%" height="100%" rx="8" fill="#ffffff"/>
<g fill="none" stroke="#57606a" stroke-width="1.3">
{arrows}
</g>
{boxes}
{legend}
</svg>
"""


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
