"""The report: one folder with tables in Markdown, pictures, and a page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoloslim.config.results import SweepResult
from yoloslim.data.voc import load_split
from yoloslim.errors import TrackingError
from yoloslim.files import atomic_folder, read_json, write_text
from yoloslim.report.cuts import certificate_grid, layers_markdown, totals_grid
from yoloslim.report.page.embed import embedded_picture
from yoloslim.report.page.findings import PageContents
from yoloslim.report.page.render import Extras, render
from yoloslim.report.pictures import PICTURES, Picture, draw_report
from yoloslim.report.sweep_table import effort, sweep_grid
from yoloslim.report.tables import (
    comparison_grid,
    in_markdown,
    npu_grid,
    npu_twin_grid,
    pruning_grid,
    pytorch_grid,
    recommendation,
    twin_grid,
)
from yoloslim.report.wording import (
    CUT,
    NPU_TEXT,
    NPU_TITLE,
    NPU_TWIN_TEXT,
    NPU_TWIN_TITLE,
    PROOF,
    TWIN_TEXT,
    TWIN_TITLE,
    headline,
    notes,
    why,
)
from yoloslim.results.links import RunLinks
from yoloslim.results.records import Row
from yoloslim.results.results import Results

LAYERS = "layers.md"
EMBEDDED = ("labels.png", "batches.png", "features.png")
"""Pictures that the page shows as they are; it draws the others itself."""


@dataclass(frozen=True)
class Report:
    """What `write_report` made: the rows it read, the models' recommendations, and the files, main page first."""

    rows: tuple[Row, ...]
    recommendations: dict[str, str]
    recommended: str
    files: tuple[Path, ...]

    def summary(self) -> dict[str, Any]:
        """Plain values for metrics/report.json, in the one vocabulary of metrics."""
        return {
            "recommended": self.recommended,
            "recommendations": self.recommendations,
            "models": {row.name: row.metrics() | _words(row) for row in self.rows},
        }


def write_report(
    results: Results,
    out_dir: Path,
    *,
    images: int = 4,
    conf_thres: float = 0.25,
    data: Path | None = None,
    feature_maps: bool = False,
) -> Report:
    """Write report.md, index.html and PNGs to `out_dir`.

    Args:
        results: what to report on.
        out_dir: replaced as a whole, and only when everything is drawn.
        images: test images in the grid of predictions.
        conf_thres: boxes with a lower score are not drawn, in [0, 1).
        data: prepared folder with the images; by default the project's data/voc.
        feature_maps: also show where the baseline and the recommended model look.

    Raises:
        TrackingError: there is nothing to report on yet.
    """
    root, params, rows, sweep, best = results.root, results.params, results.rows, results.sweep, results.best
    if not rows:
        raise TrackingError(f"{root / 'metrics'} holds no metrics to report on; run the pipeline (`dvc repro`)")
    recommendations = {row.name: recommendation(row, rows) for row in rows if row.kind == "pruned"}
    data = data or root / "data" / "voc"
    with atomic_folder(out_dir) as folder:
        judged = draw_report(rows, best, data, folder, images=images, conf_thres=conf_thres, maps=feature_maps)
        drawn = [picture for picture in PICTURES if (folder / picture.file).is_file()]
        held = read_json(data / "report.json") if (data / "report.json").is_file() else {}
        write_text(folder / "report.md", _markdown(rows, best, drawn, sweep, held))
        tables = [layers_markdown(row) for row in rows if row.report.get("layers")]
        if tables:
            write_text(folder / LAYERS, "\n".join(["# Layer by layer\n", *tables]))
        test = load_split(data, "test") if (data / "classes.txt").is_file() else None
        findings = PageContents(rows, best, judged, test, sweep, held)
        pictures = [(item, *embedded_picture(folder / item.file)) for item in drawn if item.file in EMBEDDED]
        extras = Extras(pictures, results.shown_params, _links(params, root), results.outputs, images, conf_thres)
        write_text(folder / "index.html", render(findings, extras))
    names = ["index.html", "report.md", *([LAYERS] if tables else []), *(picture.file for picture in drawn)]
    files = [out_dir / name for name in names]
    return Report(rows, recommendations, best.name if best else "", tuple(files))


def _words(row: Row) -> dict[str, str]:
    """What of a model's metrics is text."""
    suppression = row.trained.get("suppression")
    return {"backend": row.backend} | ({"suppression": str(suppression)} if suppression else {})


def _links(params: Mapping[str, Any], root: Path) -> RunLinks:
    tracking = params.get("tracking") or {}
    return RunLinks(tracking.get("uri", "sqlite:///mlflow.db"), tracking.get("experiment", "yoloslim"), root)


def _markdown(
    rows: Sequence[Row],
    best: Row | None,
    drawn: Sequence[Picture],
    sweep: SweepResult | None,
    data: Mapping[str, Any],
) -> str:
    parts = ["# Report", f"**{headline(best, rows, sweep)}**", why(best, rows, sweep)]
    said = "\n".join(f"- {in_markdown(note)}" for note in notes(rows, data))
    parts += ["## Models", comparison_grid(rows).markdown(), said]
    if sweep:
        parts += ["## The sweep", effort(sweep), sweep_grid(sweep).markdown()]
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
    if any(row.simulated for row in rows):
        parts += [f"## {NPU_TITLE}", NPU_TEXT, npu_grid(rows).markdown()]
    if npu_twin_grid(rows).rows:
        parts += [f"## {NPU_TWIN_TITLE}", NPU_TWIN_TEXT, npu_twin_grid(rows).markdown()]
    parts += [f"## {item.title}\n\n![{item.title}]({item.file})\n\n{item.text}" for item in drawn]
    return "\n\n".join(part for part in parts if part) + "\n"
