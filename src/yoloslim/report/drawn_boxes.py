"""Boxes with labels on an image, the labels clear of one another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from yoloslim.report.style import BLUE, GREEN, RED

LOOKS: dict[str, dict[str, Any]] = {
    "truth": {"edgecolor": GREEN},
    "found": {"edgecolor": BLUE},
    "wrong": {"edgecolor": RED, "linestyle": "--"},
}
CELL = 2.6
"""Width of an image in the grid, inches."""
FONT = 7.5
"""Size of labels, points."""


def draw_boxes(axes: Any, boxes: NDArray[np.float32], texts: Sequence[str], looks: Sequence[str]) -> None:
    """Draw boxes (n, 4 or more), `xyxy` in pixels, with a label each, on axes that show an image `CELL` inches wide."""
    height, width = axes.images[0].get_array().shape[:2]
    places = label_places(boxes, [len(text) for text in texts], width, height)
    for box, text, look, (x, y) in zip(boxes, texts, looks, places, strict=True):
        style = LOOKS[look]
        x0, y0, x1, y1 = box[:4] - 0.5  # matplotlib's pixel centres lie on whole numbers
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, linewidth=1.8, **style))
        label = {"facecolor": style["edgecolor"], "edgecolor": "none", "pad": 1.2, "alpha": 0.9}
        axes.text(x, y, text, fontsize=FONT, color="white", va="top", clip_on=True, bbox=label)


def label_places(
    boxes: NDArray[np.float32], lengths: Sequence[int], width: int, height: int, font: float = FONT
) -> list[tuple[float, float]]:
    """Top left corners of labels, in image pixels: at their boxes, inside the image, and clear of one another.

    Each takes the first free place of: above the box, below it, inside its top, inside its bottom, each flush left
    and then flush right; where none is free, the first.
    """
    point = text_point(width)
    tall = 1.5 * font * point
    placed: list[tuple[float, float, float, float]] = []
    for (x0, y0, x1, y1), length in zip(boxes[:, :4].tolist(), lengths, strict=True):
        wide = 0.62 * font * point * length
        options = []
        for y in (y0 - tall, y1, y0, y1 - tall):
            for x in (x0, x1 - wide):
                left = min(max(x, 0.0), max(width - wide, 0.0))
                options.append((left, y, left + wide, y + tall))
        inside = [option for option in options if option[1] >= 0 and option[3] <= height] or options[4:5]
        placed.append(next((o for o in inside if not any(_overlap(o, other) for other in placed)), inside[0]))
    return [(left, top) for left, top, _, _ in placed]


def text_point(width: int) -> float:
    """Image pixels that a point of text covers, in an image of this width."""
    return width / (72 * CELL)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
