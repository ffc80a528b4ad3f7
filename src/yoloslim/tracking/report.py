"""The report: one folder with tables in Markdown, pictures, and a page that needs nothing but itself."""

import base64
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from yoloslim.errors import TrackingError
from yoloslim.files import atomic_folder, write_text
from yoloslim.tracking import plots
from yoloslim.tracking.predictions import predictions
from yoloslim.tracking.records import Row, read_rows
from yoloslim.tracking.style import Panel, one_each, side_by_side
from yoloslim.tracking.tables import comparison_grid, pruning_grid, pytorch_grid, recommended, verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """One picture of the report: its file name, what it is called, and what to look for in it."""

    file: str
    title: str
    text: str


PICTURES = (
    Picture(
        "comparison.png",
        "What pruning costs and saves",
        "Accuracy, parameters and speed of every model. “Not finetuned” is the model straight after the cut.",
    ),
    Picture(
        "predictions.png",
        "The same images through every model",
        "Blue boxes agree with the truth (same class, IoU 0.5 or more); dashed red boxes do not.",
    ),
    Picture(
        "channels.png",
        "Channels kept, layer by layer",
        "Grey is the dense model. Layers that carry little are cut to the bone; the others are left alone.",
    ),
    Picture(
        "gammas.png",
        "What sparse training did to the BatchNorm scales",
        "The penalty drives the scales of channels that matter little to zero; these are the ones that go.",
    ),
    Picture(
        "curves.png",
        "Training curves",
        "Baseline, sparse training and the finetuning of each percent, in the order in which they ran.",
    ),
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
) -> Report:
    """Read what the stages wrote under `root`, and write report.md, index.html and PNGs to `out_dir`.

    Args:
        root: folder with `metrics/`, `models/` and `plots/`.
        out_dir: replaced as a whole, and only when everything is drawn.
        params: params.yaml as a nested dictionary; its `percents` say which percents count.
        images: test images in the grid of predictions.
        conf_thres: boxes with a lower score are not drawn, in [0, 1).
        data: prepared folder with the test images; by default `root/data/voc`.

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
        charts = _charts(rows)
        _draw(rows, charts, folder, data or root / "data" / "voc", images, conf_thres)
        drawn = [picture for picture in PICTURES if (folder / picture.file).is_file()]
        write_text(folder / "report.md", _markdown(rows, best, drawn))
        write_text(folder / "index.html", _page(rows, best, _embed(drawn, charts, folder), params))
    files = [out_dir / name for name in ("index.html", "report.md", *(picture.file for picture in drawn))]
    return Report(tuple(rows), verdicts, best.name if best else "", tuple(files))


def _charts(rows: Sequence[Row]) -> dict[str, list[Panel]]:
    """The pictures that are made of charts side by side, by file name."""
    charts = {}
    if any(row.kind == "pruned" for row in rows):
        charts["comparison.png"] = plots.comparison(rows)
    if any(row.epochs for row in rows):
        charts["curves.png"] = plots.curves(rows)
    arrays = next((row.gammas for row in rows if row.gammas), None)
    if arrays:
        charts["gammas.png"] = plots.gammas(arrays)
    return charts


def _draw(
    rows: Sequence[Row],
    charts: Mapping[str, Sequence[Panel]],
    folder: Path,
    data: Path,
    images: int,
    conf_thres: float,
) -> None:
    for file, panels in charts.items():
        side_by_side(panels, folder / file)
    plots.channels(rows, folder / "channels.png")
    if (data / "classes.txt").is_file() and any(row.detections for row in rows):
        predictions(rows, data, folder / "predictions.png", images=images, conf_thres=conf_thres)


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
    if any(row.trained for row in rows):
        parts += ["## The same models in PyTorch, fp32", pytorch_grid(rows).markdown()]
    parts += [f"## {item.title}\n\n![{item.title}]({item.file})\n\n{item.text}" for item in drawn]
    return "\n\n".join(parts) + "\n"


def _embed(
    drawn: Sequence[Picture], charts: Mapping[str, Sequence[Panel]], folder: Path
) -> list[tuple[Picture, list[str]]]:
    """Every picture with its images as data URIs; charts come one by one, so that a phone can stack them."""
    embedded = []
    with tempfile.TemporaryDirectory() as scratch:
        for item in drawn:
            panels = charts.get(item.file)
            paths = one_each(panels, Path(scratch), Path(item.file).stem) if panels else [folder / item.file]
            uris = ["data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() for path in paths]
            embedded.append((item, uris))
    return embedded


def _page(
    rows: Sequence[Row],
    best: Row | None,
    pictures: Sequence[tuple[Picture, list[str]]],
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
        pytorch=pytorch_grid(rows),
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
