"""Which pictures belong to a report and which to a single model's run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yoloslim.data.images import read_image
from yoloslim.data.voc import SPLITS, VocSplit, load_split
from yoloslim.report import dataset, plots
from yoloslim.report.predictions import choose_images, predictions
from yoloslim.report.quality import confusion, quality
from yoloslim.report.style import Panel, side_by_side
from yoloslim.results.judged import Judged, judge_rows
from yoloslim.results.records import Row

RUN_DPI = 100
"""Pixels an inch of the pictures in a run: one look at a model; the report's pictures have half as many again."""
MAPPED = 2
"""Test images that heat maps are drawn of."""

Charts = dict[str, list[Panel]]
"""Pictures that are made of charts side by side, by file name."""


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
        "quality.png",
        "Precision, recall and F1",
        "Means over the classes, at IoU 0.5. The confidence where F1 is best is a good threshold for deployment.",
    ),
    Picture(
        "confusion.png",
        "Which classes are taken for which",
        "A column holds the objects of one class, in % of them. “Nothing there” holds detections where no object is, "
        "in % of all of these. Shares below half a percent are not written.",
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
    Picture(
        "labels.png",
        "What the labels hold",
        "Boxes by class and split, and, of the images trained on, how many, how large and where they are. Colours "
        "count boxes.",
    ),
    Picture(
        "batches.png",
        "What the network saw first",
        "Images of the baseline's first batches, a line each, augmented, with the boxes that they were trained with.",
    ),
    Picture(
        "features.png",
        "Where the models look",
        "Strength of the features that the head reads, bright where it is high, from fine cells to coarse ones.",
    ),
)


def draw_report(
    rows: Sequence[Row], best: Row | None, data: Path, folder: Path, *, images: int, conf_thres: float, maps: bool
) -> list[Judged]:
    """Draw what there is to draw; returns what the models found on the test images, judged.

    Args:
        rows: the models.
        best: the recommended one of them.
        data: prepared folder; where it is missing, pictures of images and labels are left out.
        folder: where the PNGs go.
        images: lines in the grid of predictions.
        conf_thres: boxes with a lower score are not drawn.
        maps: draw heat maps of features too.
    """
    charts, judged = _charts(rows), []
    plots.channels(rows, folder / "channels.png")
    if (data / "classes.txt").is_file():
        splits = [load_split(data, name) for name in SPLITS]
        charts["labels.png"], test = dataset.labels(splits), splits[-1]
        judged = _draw_results(rows, best, test, folder, charts, images, conf_thres)
        start = next((row.batches for row in rows if row.batches), None)
        if start:
            dataset.batches(start, test.classes, folder / "batches.png")
        if maps:
            _draw_maps([row for row in rows if row.kind == "baseline" or row is best], test, folder / "features.png")
    for file, panels in charts.items():
        side_by_side(panels, folder / file)
    return judged


def draw_row(row: Row, data: Path, folder: Path) -> None:
    """Draw the pictures that belong to one model alone; those of the data and its first batches go with the baseline.

    Curves are none of them: MLflow has every epoch, and draws them itself.
    """
    charts: Charts = {"gammas.png": plots.gammas(row.gammas)} if row.gammas else {}
    plots.channels([row], folder / "channels.png", RUN_DPI)
    if (data / "classes.txt").is_file():
        test = load_split(data, "test")
        if row.kind == "baseline":
            charts["labels.png"] = dataset.labels([*(load_split(data, name) for name in SPLITS[:-1]), test])
        if row.kind == "baseline" and row.batches:
            dataset.batches(row.batches, test.classes, folder / "batches.png")
        if row.detections:
            (judged,) = judge_rows([row], test)
            charts["quality.png"] = quality([judged], test.classes)
            confusion(judged, test, folder / "confusion.png", RUN_DPI)
    for file, panels in charts.items():
        side_by_side(panels, folder / file, dpi=RUN_DPI)


def _charts(rows: Sequence[Row]) -> Charts:
    charts = {}
    if any(row.kind == "pruned" for row in rows):
        charts["comparison.png"] = plots.comparison(rows)
    if any(row.epochs for row in rows):
        charts["curves.png"] = plots.curves(rows)
    arrays = next((row.gammas for row in rows if row.gammas), None)
    if arrays:
        charts["gammas.png"] = plots.gammas(arrays)
    return charts


def _draw_results(
    rows: Sequence[Row],
    best: Row | None,
    test: VocSplit,
    folder: Path,
    charts: Charts,
    images: int,
    conf_thres: float,
) -> list[Judged]:
    """What was found on the test images."""
    if not any(row.detections for row in rows):
        return []
    judged = judge_rows([row for row in rows if row.kind != "unstructured"], test)
    predictions(judged, test, folder / "predictions.png", images=images, conf_thres=conf_thres)
    charts["quality.png"] = quality(judged, test.classes)
    if judged:
        confusion(next((item for item in judged if item.row is best), judged[0]), test, folder / "confusion.png")
    return judged


def _draw_maps(rows: Sequence[Row], test: VocSplit, path: Path) -> None:
    from yoloslim.models.store import load_model  # PyTorch takes a second
    from yoloslim.report.features import features

    images = [read_image(test.image_path(i)) for i in choose_images(test.annotations, MAPPED)]
    models = [(row.title, load_model(row.model)) for row in rows if row.model]
    if images and models:
        features(models, images, path)
