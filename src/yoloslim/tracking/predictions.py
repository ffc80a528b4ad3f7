"""Test images with the truth and what each model found, side by side."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from yoloslim.boxes import iou_matrix
from yoloslim.data.voc import Annotation, VocSplit, load_split, read_image
from yoloslim.files import read_json
from yoloslim.tracking.records import Row
from yoloslim.tracking.style import BLUE, GREEN, RED, picture

logger = logging.getLogger(__name__)

LOOKS: dict[str, dict[str, Any]] = {
    "truth": {"edgecolor": GREEN},
    "found": {"edgecolor": BLUE},
    "wrong": {"edgecolor": RED, "linestyle": "--"},
}
MATCH_IOU = 0.5
CELL = 2.6
"""Width of an image in the grid, inches."""
FONT = 7.5
"""Size of labels, points."""


def predictions(rows: Sequence[Row], data: Path, path: Path, *, images: int = 4, conf_thres: float = 0.25) -> None:
    """Draw a grid: one line an image, columns for the truth, the baseline and each percent.

    Args:
        rows: those with detections are drawn.
        data: prepared folder.
        path: of the PNG.
        images: lines of the grid; taken evenly from the test images that hold two to six objects, or, where these
            are too few, from all that hold any.
        conf_thres: boxes with a lower score are not drawn.
    """
    split = load_split(data, "test")
    shown = [row for row in rows if row.detections and row.kind != "sparse"]
    found = [_detections(row) for row in shown]
    chosen = choose_images(split.annotations, images)
    if not chosen:
        logger.warning("no test image holds an object: the grid of predictions is left out")
        return
    columns = 1 + len(shown)
    shapes = [split.annotations[index].height / split.annotations[index].width for index in chosen]
    with picture(path, CELL * columns, CELL * sum(shapes) + 0.7) as figure:
        grid = figure.subplots(len(chosen), columns, squeeze=False, height_ratios=shapes)
        for line, index in zip(grid, chosen, strict=True):
            _draw_line(line, split, index, found, conf_thres)
        for axes, title in zip(grid[0], ["truth", *(row.title for row in shown)], strict=True):
            axes.set_title(title, loc="center")
        lines = [
            Line2D([], [], color=look["edgecolor"], linestyle=look.get("linestyle", "-")) for look in LOOKS.values()
        ]
        figure.legend(lines, ["truth", "right", "wrong class or place"], loc="outside lower center", ncols=3)


def choose_images(annotations: Sequence[Annotation], count: int) -> list[int]:
    """Indices of `count` images, evenly from those with two to six objects, else from those with any."""
    good = [i for i, note in enumerate(annotations) if 2 <= len(note) <= 6]
    if len(good) < count:
        good = [i for i, note in enumerate(annotations) if len(note)]
    steps = np.linspace(0, len(good) - 1, min(count, len(good))).round().astype(int)
    return [good[i] for i in steps]


def right_boxes(detections: NDArray[np.float32], truth: Annotation) -> NDArray[np.bool_]:
    """(n,) which of the detections (n, 6), best first, meet a truth of their class that no better one has met."""
    free = np.ones(len(truth), np.bool_)
    overlaps = iou_matrix(torch.from_numpy(detections[:, :4]), torch.from_numpy(truth.boxes)).numpy()
    right = np.zeros(len(detections), np.bool_)
    for i, row in enumerate(overlaps):
        allowed = np.where(free & (truth.labels == int(detections[i, 5])), row, 0.0)
        if allowed.size and allowed.max() >= MATCH_IOU:
            right[i], free[allowed.argmax()] = True, False
    return right


def _detections(row: Row) -> dict[str, NDArray[np.float32]]:
    assert row.detections is not None
    stored = read_json(row.detections)
    pairs = zip(stored["ids"], stored["detections"], strict=True)
    return {name: np.array(boxes, np.float32).reshape(-1, 6) for name, boxes in pairs}


def _draw_line(
    line: Any, split: VocSplit, index: int, found: Sequence[dict[str, NDArray[np.float32]]], conf_thres: float
) -> None:
    image, truth = read_image(split.image_path(index)), split.annotations[index]
    nothing = np.zeros((0, 6), np.float32)
    for axes in line:
        axes.imshow(image, interpolation="lanczos")
        axes.set_axis_off()
    names = [split.classes[label] for label in truth.labels]
    _draw_boxes(line[0], truth.boxes, names, ["truth"] * len(names))
    for axes, boxes in zip(line[1:], found, strict=True):
        kept = boxes.get(split.ids[index], nothing)
        kept = kept[kept[:, 4] >= conf_thres]
        kept = kept[np.argsort(-kept[:, 4], kind="stable")]
        texts = [f"{split.classes[int(box[5])]} {box[4]:.2f}" for box in kept]
        _draw_boxes(axes, kept, texts, ["found" if right else "wrong" for right in right_boxes(kept, truth)])


def _draw_boxes(axes: Any, boxes: NDArray[np.float32], texts: Sequence[str], looks: Sequence[str]) -> None:
    height, width = axes.images[0].get_array().shape[:2]
    places = label_places(boxes, [len(text) for text in texts], width, height)
    for box, text, look, (x, y) in zip(boxes, texts, looks, places, strict=True):
        style = LOOKS[look]
        x0, y0, x1, y1 = box[:4] - 0.5  # matplotlib's pixel centres lie on whole numbers
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, linewidth=1.8, **style))
        label = {"facecolor": style["edgecolor"], "edgecolor": "none", "pad": 1.2, "alpha": 0.9}
        axes.text(x, y, text, fontsize=FONT, color="white", va="top", clip_on=True, bbox=label)


def label_places(
    boxes: NDArray[np.float32], lengths: Sequence[int], width: int, height: int
) -> list[tuple[float, float]]:
    """Top left corners of labels, in image pixels: at their boxes, inside the image, and clear of one another.

    Each takes the first free place of: above the box, below it, inside its top, inside its bottom, each flush left
    and then flush right; where none is free, the first.
    """
    point = width / (72 * CELL)  # image pixels that a point of text covers
    tall = 1.5 * FONT * point
    placed: list[tuple[float, float, float, float]] = []
    for (x0, y0, x1, y1), length in zip(boxes[:, :4].tolist(), lengths, strict=True):
        wide = 0.62 * FONT * point * length
        options = []
        for y in (y0 - tall, y1, y0, y1 - tall):
            for x in (x0, x1 - wide):
                left = min(max(x, 0.0), max(width - wide, 0.0))
                options.append((left, y, left + wide, y + tall))
        inside = [option for option in options if option[1] >= 0 and option[3] <= height] or options[4:5]
        placed.append(next((o for o in inside if not any(_overlap(o, other) for other in placed)), inside[0]))
    return [(left, top) for left, top, _, _ in placed]


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
