"""The report: one folder with tables in Markdown, pictures, and a page that needs nothing but itself."""

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from yoloslim.errors import TrackingError
from yoloslim.files import atomic_folder, write_text
from yoloslim.tracking.cuts import certificate_grid, layers_grid, layers_markdown, totals_grid
from yoloslim.tracking.pictures import PICTURES, Picture, draw_report
from yoloslim.tracking.records import Row, read_rows
from yoloslim.tracking.style import Panel, one_each
from yoloslim.tracking.tables import comparison_grid, pruning_grid, pytorch_grid, recommended, twin_grid, verdict

PHOTOGRAPH_BYTES = 500_000
"""A PNG larger than this shows photographs."""
LAYERS = "layers.md"
CUT = (
    "Above the limit some layer would lose all its channels: a clipped layer was given channels back. A cube "
    "unit computes 16 channels at once at fp16: padded to 16 counts what it really does."
)
PROOF = (
    "Largest difference of the raw outputs, in float64: the cut model against the masked one, and the cut and folded "
    "one against the one whose doomed channels are frozen. The last line of each is what folding cannot see at "
    "zero-padded borders; it is no fault."
)
PAGE_SCALE = 1.42
"""Pixels of a picture in one of a page, so that 11 inches fill its width."""

TWIN_TITLE = "What the board is predicted to change"
TWIN_TEXT = (
    "Points of mAP50 against the exported graph, one peculiarity of the board at a time, emulated on this machine's "
    "CPU by documented formulas. Nothing here was measured on a board."
)


@dataclass(frozen=True)
class Report:
    """What `write_report` made: the rows it read, the models' verdicts, and the files, main page first."""

    rows: tuple[Row, ...]
    verdicts: dict[str, str]
    recommended: str
    files: tuple[Path, ...]

    def summary(self) -> dict[str, Any]:
        """Plain values for metrics/report.json, in the one vocabulary of metrics."""
        return {
            "recommended": self.recommended,
            "verdicts": self.verdicts,
            "models": {row.name: row.metrics() | {"backend": row.backend} for row in self.rows},
        }


def write_report(
    root: Path,
    out_dir: Path,
    params: Mapping[str, Any] | None = None,
    *,
    images: int = 4,
    conf_thres: float = 0.25,
    data: Path | None = None,
    feature_maps: bool = False,
) -> Report:
    """Read what the stages wrote under `root`, and write report.md, index.html and PNGs to `out_dir`.

    Args:
        root: folder with `metrics/`, `models/` and `plots/`.
        out_dir: replaced as a whole, and only when everything is drawn.
        params: params.yaml as a nested dictionary; its `percents` say which percents count.
        images: test images in the grid of predictions.
        conf_thres: boxes with a lower score are not drawn, in [0, 1).
        data: prepared folder with the images; by default `root/data/voc`.
        feature_maps: also show where the baseline and the recommended model look.

    Raises:
        TrackingError: there is nothing to report on yet, or a file is not what its stage writes.
    """
    params = params or {}
    rows = read_rows(root, params.get("percents"))
    if not rows:
        raise TrackingError(f"{root / 'metrics'} holds no metrics to report on; run the pipeline (`dvc repro`)")
    best = recommended(rows)
    verdicts = {row.name: verdict(row, rows) for row in rows if row.kind == "pruned"}
    with atomic_folder(out_dir) as folder:
        charts = draw_report(
            rows, best, data or root / "data" / "voc", folder, images=images, conf_thres=conf_thres, maps=feature_maps
        )
        drawn = [picture for picture in PICTURES if (folder / picture.file).is_file()]
        write_text(folder / "report.md", _markdown(rows, best, drawn))
        tables = [layers_markdown(row) for row in rows if row.report.get("layers")]
        if tables:
            write_text(folder / LAYERS, "\n".join(["# Layer by layer\n", *tables]))
        write_text(folder / "index.html", _page(rows, best, _embed(drawn, charts, folder), params))
    names = ["index.html", "report.md", *([LAYERS] if tables else []), *(picture.file for picture in drawn)]
    files = [out_dir / name for name in names]
    return Report(tuple(rows), verdicts, best.name if best else "", tuple(files))


def _notes(rows: Sequence[Row]) -> list[str]:
    """What a reader must know to read the numbers rightly."""
    ways = sorted({str(row.deployed["preprocessing"]) for row in rows if row.deployed.get("preprocessing")})
    backends = sorted({row.backend for row in rows if row.deployed})
    notes = ["Metrics are of the test split. Latency and FPS are of single images on the backend named beside them."]
    if backends:
        shown = f"Deployed models ran on {', '.join(backends)}"
        notes.append(shown + (f", preprocessing {', '.join(ways)}." if ways else "."))
    if any(row.compiled == "not_available" for row in rows):
        notes.append(
            "Ascend's ATC is not installed here: no model was compiled for Ascend, and nothing here was measured on "
            "Ascend hardware. `models/atc/*/atc.sh` compiles on a machine with CANN."
        )
    return notes


def _markdown(rows: Sequence[Row], best: Row | None, drawn: Sequence[Picture]) -> str:
    parts = ["# Report", f"**{_headline(rows, best)}**"]
    parts += ["## Models", comparison_grid(rows).markdown(), "\n".join(f"- {note}" for note in _notes(rows))]
    if any(row.pruned for row in rows):
        parts += ["## From cut to deployment", pruning_grid(rows).markdown()]
    if totals_grid(rows).rows:
        parts += ["## What was cut", CUT, totals_grid(rows).markdown(), f"Layer by layer: [{LAYERS}]({LAYERS})"]
    if certificate_grid(rows).rows:
        parts += ["## The proof", PROOF, certificate_grid(rows).markdown()]
    if any(row.trained for row in rows):
        parts += ["## The same models in PyTorch, fp32", pytorch_grid(rows).markdown()]
    if any(row.deployed.get("twin") for row in rows):
        parts += [f"## {TWIN_TITLE}", TWIN_TEXT, twin_grid(rows).markdown()]
    parts += [f"## {item.title}\n\n![{item.title}]({item.file})\n\n{item.text}" for item in drawn]
    return "\n\n".join(parts) + "\n"


def _embed(
    drawn: Sequence[Picture], charts: Mapping[str, Sequence[Panel]], folder: Path
) -> list[tuple[Picture, list[tuple[str, int]]]]:
    """Every picture with its images, see `_embedded`; charts come one by one, so that a phone can stack them."""
    embedded = []
    with tempfile.TemporaryDirectory() as scratch:
        for item in drawn:
            panels = charts.get(item.file)
            paths = one_each(panels, Path(scratch), Path(item.file).stem) if panels else [folder / item.file]
            embedded.append((item, [_embedded(path) for path in paths]))
    return embedded


def _embedded(path: Path) -> tuple[str, int]:
    """A picture as a data URI, photographs as WebP, which needs a tenth of the room; and its width on a page, px."""
    kind, content = "png", path.read_bytes()
    pixels: Any = cv2.imread(str(path))
    if len(content) > PHOTOGRAPH_BYTES:
        kind, content = "webp", cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 88])[1].tobytes()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}", round(pixels.shape[1] / PAGE_SCALE)


def _page(
    rows: Sequence[Row],
    best: Row | None,
    pictures: Sequence[tuple[Picture, list[tuple[str, int]]]],
    params: Mapping[str, Any],
) -> str:
    loader = PackageLoader("yoloslim.tracking")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["code"] = _code
    return environment.get_template("report.html.j2").render(
        headline=_headline(rows, best),
        best=best,
        facts=_facts(rows, best),
        comparison=comparison_grid(rows),
        pruning=pruning_grid(rows),
        totals=totals_grid(rows),
        proofs=certificate_grid(rows),
        cut_text=CUT,
        proof_text=PROOF,
        layers=[(row.title, layers_grid(row)) for row in rows if row.report.get("layers")],
        pytorch=pytorch_grid(rows),
        twin=twin_grid(rows),
        twin_title=TWIN_TITLE,
        twin_text=TWIN_TEXT,
        notes=_notes(rows),
        pictures=pictures,
        # the tracking URI may hold a password, and a report is made to be passed on
        params=json.dumps({k: v for k, v in params.items() if k != "tracking"}, indent=2, default=str),
    )


def _code(text: str) -> Markup:
    """Escape a sentence, and set what stands in backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _headline(rows: Sequence[Row], best: Row | None) -> str:
    return verdict(best, rows) if best else "Nothing has been pruned yet."


def _facts(rows: Sequence[Row], best: Row | None) -> list[tuple[str, str, str]]:
    """The recommended model in four numbers: name, its value, the baseline's."""
    baseline = next((row for row in rows if row.kind == "baseline"), None)
    if best is None or baseline is None:
        return []
    facts = []
    wanted = (
        ("mAP50", "map50", 3),
        ("million parameters", "params_m", 2),
        ("GFLOPs", "gflops", 2),
        ("MB on disk", "size_mb", 1),
        (f"speed-up, {best.backend}", "speedup", 2),
    )
    for name, key, digits in wanted:
        mine, theirs = best.best(key), baseline.best(key)
        if mine is not None and theirs is not None:
            facts.append((name, f"{mine:.{digits}f}", f"{theirs:.{digits}f}"))
    return facts
