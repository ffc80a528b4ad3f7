"""Puts the page together: findings, charts, photographs, tables and the charting library in one file."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from yoloslim.errors import YoloslimError
from yoloslim.files import user_cache, write_text
from yoloslim.report import wording
from yoloslim.report.cuts import certificate_grid, layers_grid, totals_grid
from yoloslim.report.page.details import details, measure
from yoloslim.report.page.figures import Figure, cliff, figures
from yoloslim.report.page.findings import PageContents
from yoloslim.report.page.photos import Photo, photos
from yoloslim.report.page.points import Point
from yoloslim.report.page.provenance import commands
from yoloslim.report.pictures import Picture
from yoloslim.report.sweep_table import effort, sweep_grid
from yoloslim.report.tables import Grid, comparison_grid, npu_grid, npu_twin_grid, pruning_grid, pytorch_grid, twin_grid
from yoloslim.results.lineage import StageOutput
from yoloslim.results.links import RunLinks

CONTENTS = (
    ("cost", "Cost"),
    ("models", "Models"),
    ("sweep", "Sweep"),
    ("cliff", "Cliff"),
    ("layers", "Layers"),
    ("gammas", "Scales"),
    ("quality", "Quality"),
    ("images", "Images"),
    ("training", "Training"),
    ("proof", "Proof"),
    ("again", "Reproduce"),
    ("more", "More"),
)
FACTS = {
    "map50": "mAP50",
    "params_m": "parameters",
    "latency_ms": "latency of an image",
    "size_mb": "size on disk",
}


@dataclass(frozen=True)
class Extras:
    """What the page shows besides the findings.

    Attributes:
        pictures: shown as they are, with their data URIs and widths in px.
        params: parameters that may be shown.
        links: to MLflow.
        lock: what DVC keeps.
        images: photographs wanted.
        conf_thres: boxes with a lower score are not drawn on them.
    """

    pictures: Sequence[tuple[Picture, str, int]]
    params: Mapping[str, Any]
    links: RunLinks
    lock: Sequence[StageOutput]
    images: int
    conf_thres: float


def render(findings: PageContents, extras: Extras) -> str:
    """The page as HTML."""
    drawn = figures(findings)
    environment = Environment(
        loader=PackageLoader("yoloslim.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"code": _code, "marked": _marked}
    shown = _photos(findings, extras)
    sparse = any(row.kind == "sparse" for row in findings.rows)
    absent = ([] if findings.sweep else ["sweep"]) + ([] if sparse else ["gammas"])
    return environment.get_template("page.html.j2").render(
        **_head(findings),
        **_tables(findings),
        **_again(findings, extras),
        figures=drawn,
        charts=_json(
            {
                f.name: {"spec": {"description": f.label, **f.spec}, "variants": f.variants}
                for f in drawn.values()
                if f.spec
            }
        ),
        library=_script(library()),
        contents=[item for item in CONTENTS if item[0] not in absent],
        sparse=sparse,
        limited=bool(findings.limits),
        details=details(findings.points, extras.links, extras.lock),
        opened={point.title: point.name for point in findings.points},
        confusions=_confusions(findings, drawn),
        cliff=text.text if (text := cliff(findings)) else "",
        photos=shown,
        photo_titles=[item.row.title for item in findings.compared],
        no_photos=_no_photos(findings),
        winner=next((point.title for point in findings.points if point.name == findings.winner), ""),
        pictures=extras.pictures,
        params=json.dumps(extras.params, indent=2, default=str),
    )


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which vl-convert carries; putting it together takes a second."""
    import vl_convert

    path = user_cache("vega") / f"{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    with suppress(OSError, YoloslimError):  # a cache that cannot be written costs the second again
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, script)
    return script


def _head(findings: PageContents) -> dict[str, Any]:
    best = findings.best
    dense = next((point for point in findings.points if point.state == "dense"), None)
    mine = next((point for point in findings.points if point.name == findings.winner), None)
    return {
        "headline": wording.headline(best, findings.rows, findings.sweep),
        "why": wording.why(best, findings.rows, findings.sweep),
        "facts": _facts(mine, dense) if mine and dense else [],
    }


def _facts(mine: Point, dense: Point) -> list[tuple[str, str, str]]:
    """The winner in a few numbers: name, its value, the dense model's; times only of one backend."""
    same = mine.backend == dense.backend
    keys = [key for key in FACTS if key in mine.values and key in dense.values and (same or key != "latency_ms")]
    return [(FACTS[key], measure(mine, key), measure(dense, key)) for key in keys]


def _tables(findings: PageContents) -> dict[str, Any]:
    rows = findings.rows
    return {
        "comparison": comparison_grid(rows),
        "pruning": pruning_grid(rows),
        "totals": totals_grid(rows),
        "proofs": certificate_grid(rows),
        "layers": [(row.title, layers_grid(row)) for row in rows if row.report.get("layers")],
        "pytorch": pytorch_grid(rows),
        "twin": twin_grid(rows),
        "npu": npu_grid(rows),
        "npu_twin": npu_twin_grid(rows),
        "notes": wording.notes(rows, findings.data),
        "sweep": sweep_grid(findings.sweep) if findings.sweep else None,
        "effort": effort(findings.sweep) if findings.sweep else "",
        "cut_text": wording.CUT,
        "proof": wording.proof(rows),
        "proof_text": wording.PROOF,
        "twin_title": wording.TWIN_TITLE,
        "twin_text": wording.TWIN_TEXT,
        "npu_title": wording.NPU_TITLE,
        "npu_text": wording.NPU_TEXT,
        "npu_twin_title": wording.NPU_TWIN_TITLE,
        "npu_twin_text": wording.NPU_TWIN_TEXT,
    }


def _again(findings: PageContents, extras: Extras) -> dict[str, Any]:
    lines = tuple((out.stage, out.path, out.md5) for out in extras.lock)
    return {
        "commands": commands(findings.best, findings.variant),
        "links": extras.links,
        "runs": [(row.title, extras.links.of(row)) for row in findings.rows] if extras.links.number else [],
        "hashes": Grid(("stage", "path", "md5"), lines, frozenset({0, 1, 2})),
    }


def _confusions(findings: PageContents, drawn: Mapping[str, Figure]) -> list[tuple[Figure, str]]:
    found = []
    for item in findings.compared:
        figure = drawn.get(f"confusion-{item.row.name}")
        if figure:
            found.append((figure, f"{item.row.title}, at confidence {item.evaluation.confidence:.2f}"))
    return found


def _photos(findings: PageContents, extras: Extras) -> list[Photo]:
    if findings.test is None or _no_photos(findings):
        return []
    return photos(findings.compared, findings.test, extras.images, extras.conf_thres)


def _no_photos(findings: PageContents) -> str:
    """Why there is no photograph to compare."""
    if findings.test is None:
        return "the prepared data set is not there"
    if len(findings.compared) < 2:
        return "there are no stored detections of a dense and a finetuned model to compare"
    if not any(len(note) for note in findings.test.annotations):
        return "no test image holds an object"
    return ""


def _json(value: Any) -> Markup:
    """JSON that may stand in a page: no text in it can end the script."""
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def _script(code: str) -> Markup:
    return Markup(code.replace("</script", "<\\/script"))


def _marked(text: str, word: str) -> Markup:
    """Escape a sentence, set the first of these words in bold, and keep numbers and % together."""
    before, found, after = text.partition(word or text)
    bold = Markup("<b>{}</b>").format(found) if word else escape(found)
    return Markup((escape(before) + bold + escape(after)).replace(" %", "\u00a0%"))


def _code(text: str) -> Markup:
    """Escape a sentence, and set what stands in backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))
