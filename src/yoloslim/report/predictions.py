"""Test images with the truth and what each model found, side by side."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from yoloslim.boxes import iou_matrix
from yoloslim.data.images import read_image
from yoloslim.data.voc import Annotation, VocSplit
from yoloslim.report.drawn_boxes import CELL, LOOKS, draw_boxes
from yoloslim.report.style import picture
from yoloslim.results.judged import Judged

logger = logging.getLogger(__name__)

MATCH_IOU = 0.5


def predictions(
    judged: Sequence[Judged], split: VocSplit, path: Path, *, images: int = 4, conf_thres: float = 0.25
) -> None:
    """Draw a grid: one line an image, columns for the truth, the baseline and each percent.

    Args:
        judged: what the models found; only those of the baseline and the percents are drawn.
        split: the images that they looked at.
        path: of the PNG.
        images: lines of the grid; taken evenly from the test images that hold two to six objects, or, where these
            are too few, from all that hold any.
        conf_thres: boxes with a lower score are not drawn.
    """
    shown = [item for item in judged if item.row.kind in ("baseline", "pruned")]
    chosen = choose_images(split.annotations, images)
    if not chosen:
        logger.warning("no test image holds an object: the grid of predictions is left out")
        return
    columns = 1 + len(shown)
    shapes = [split.annotations[index].height / split.annotations[index].width for index in chosen]
    with picture(path, CELL * columns, CELL * sum(shapes) + 0.7) as figure:
        grid = figure.subplots(len(chosen), columns, squeeze=False, height_ratios=shapes)
        for line, index in zip(grid, chosen, strict=True):
            _draw_line(line, split, index, [item.found[index] for item in shown], conf_thres)
        for axes, title in zip(grid[0], ["truth", *(item.row.title for item in shown)], strict=True):
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


def match_boxes(detections: NDArray[np.float32], truth: Annotation) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections are right, and which objects were found.

    Args:
        detections: (n, 6), best first.
        truth: the image's objects.

    Returns:
        (n,) whether a detection meets an object of its class that no better one has met, and (objects,) whether
        an object was met.
    """
    free = np.ones(len(truth), np.bool_)
    overlaps = iou_matrix(detections[:, :4], truth.boxes)
    right = np.zeros(len(detections), np.bool_)
    for i, row in enumerate(overlaps):
        allowed = np.where(free & (truth.labels == int(detections[i, 5])), row, 0.0)
        if allowed.size and allowed.max() >= MATCH_IOU:
            right[i], free[allowed.argmax()] = True, False
    return right, ~free


def _draw_line(line: Any, split: VocSplit, index: int, found: Sequence[NDArray[np.float32]], conf_thres: float) -> None:
    image, truth = read_image(split.image_path(index)), split.annotations[index]
    for axes in line:
        axes.imshow(image, interpolation="lanczos")
        axes.set_axis_off()
    names = [split.classes[label] for label in truth.labels]
    draw_boxes(line[0], truth.boxes, names, ["truth"] * len(names))
    for axes, boxes in zip(line[1:], found, strict=True):
        kept = boxes[boxes[:, 4] >= conf_thres]
        kept = kept[np.argsort(-kept[:, 4], kind="stable")]
        texts = [f"{split.classes[int(box[5])]} {box[4]:.2f}" for box in kept]
        draw_boxes(axes, kept, texts, ["found" if right else "wrong" for right in match_boxes(kept, truth)[0]])
