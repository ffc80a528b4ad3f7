"""Raw head outputs to boxes and scores, by the YOLOv5 (v4 and later) parametrisation.

For a cell (column, row) of a level with the given stride, an anchor (w, h) and logits t, with s the logistic
function: centre = (2 s(t_xy) - 0.5 + cell) * stride, size = (2 s(t_wh))^2 * anchor, objectness = s(t_obj),
class probability = s(t_class).
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Values = TypeVar("Values", NDArray[Any], Tensor)
Anchors = Sequence[Sequence[Sequence[float]]]
"""Width and height in canvas pixels, by level and anchor."""


def decode(heads: Sequence[Floats | Tensor], anchors: Anchors, strides: Sequence[int]) -> Floats:
    """Decode every cell of every level.

    Args:
        heads: raw logits, one (B, anchors, H, W, 5 + classes) a level.
        anchors: (level, anchor, 2) in canvas pixels.
        strides: canvas pixels per cell, one a level.

    Returns:
        (B, n, 5 + classes): `xyxy` in canvas pixels, objectness and class probabilities in [0, 1]; n runs over
        levels, then anchors, rows and columns.
    """
    images = len(heads[0])
    levels = []
    for head, sizes, stride in zip(map(to_numpy, heads), anchors, strides, strict=True):
        cells = np.tile(np.arange(np.prod(head.shape[1:4])), images)
        rows = _decode_cells(head.reshape(-1, head.shape[4]), cells, head.shape, sizes, stride)
        levels.append(rows.reshape(images, -1, head.shape[4]))
    return np.concatenate(levels, axis=1)


def decode_above(
    heads: Sequence[Floats | Tensor], anchors: Anchors, strides: Sequence[int], objectness: float
) -> list[Floats]:
    """Decode only the cells whose objectness exceeds a threshold in [0, 1), as (n, 5 + classes) per image.

    A score is the product of objectness and a probability, so no cell below the score threshold can detect
    anything; at the usual thresholds this leaves out most of the work. The order is that of `decode`.
    """
    levels = [to_numpy(head) for head in heads]
    threshold = _logit(objectness)
    images = []
    for image in range(len(levels[0])):
        parts = []
        for head, sizes, stride in zip(levels, anchors, strides, strict=True):
            logits = head[image].reshape(-1, head.shape[4])
            cells = np.flatnonzero(logits[:, 4] > threshold)
            parts.append(_decode_cells(logits.take(cells, axis=0), cells, head.shape, sizes, stride))
        rows = np.concatenate(parts)
        images.append(rows[rows[:, 4] > objectness])
    return images


def _decode_cells(
    logits: Floats, cells: NDArray[np.intp], shape: tuple[int, ...], sizes: Sequence[Sequence[float]], stride: int
) -> Floats:
    """Decode (n, 5 + classes) logits that stand at the flat positions `cells` (n,) of one image of a level."""
    rows = _logistic(logits)
    anchor, position = np.divmod(cells, shape[2] * shape[3])
    row, column = np.divmod(position, shape[3])
    corner = np.stack([column, row], axis=1).astype(np.float32)
    anchors = np.asarray(sizes, np.float32)[anchor]
    rows[:, :2], rows[:, 2:4] = box_corners(rows[:, :2], rows[:, 2:4], corner, anchors, stride)
    return rows


def box_corners(xy: Values, wh: Values, cell: Values, anchors: Values, stride: int) -> tuple[Values, Values]:
    """The formula, for arrays and tensors alike: corners of boxes from logistic values.

    Args:
        xy: s(t_xy), (..., 2).
        wh: s(t_wh), (..., 2).
        cell: column and row of the cell, (..., 2).
        anchors: width and height in canvas pixels, (..., 2).
        stride: canvas pixels per cell.

    Returns:
        Top-left and bottom-right corners in canvas pixels, (..., 2) each.
    """
    centre = (xy * 2 - 0.5 + cell) * stride
    half = (wh * 2) ** 2 * (anchors / 2)
    return centre - half, centre + half


def _logistic(x: Floats) -> Floats:
    """1 / (1 + exp(-x)). NumPy's result does not depend on an element's position; PyTorch's does, by one bit."""
    with np.errstate(over="ignore"):  # exp(-x) is infinite below -88, and its reciprocal the right 0
        y = np.exp(-x)
    y += 1
    return np.reciprocal(y, out=y)


def to_numpy(head: Floats | Tensor) -> Floats:
    """A head output as a float32 array, whatever device or precision it came from."""
    if isinstance(head, Tensor):
        head = head.detach().float().cpu().numpy()
    return np.ascontiguousarray(head, np.float32)


def _logit(probability: float) -> float:
    """The logit just below a probability, so that rounding loses no cell that lies exactly above it."""
    if probability <= 0:
        return -np.inf
    return float(np.log(probability) - np.log1p(-probability)) - 1e-3
