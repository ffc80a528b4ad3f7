"""Raw head outputs to boxes and scores: boxes as `models.spec.BoxDecoding` says.

Objectness and class probabilities are the logistic function of their logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from yoloslim.models.spec import EXP_LIMIT, YOLOV5_BOXES, BoxDecoding

if TYPE_CHECKING:  # at run time nothing here needs PyTorch, which takes two seconds to import
    from torch import Tensor

Floats = NDArray[np.float32]
Values = TypeVar("Values", NDArray[Any], "Tensor")
Anchors = Sequence[Sequence[Sequence[float]]]
"""Width and height in canvas pixels, by level and anchor."""


def decode(
    heads: Sequence[Floats | Tensor],
    anchors: Anchors,
    strides: Sequence[int],
    decoding: BoxDecoding = YOLOV5_BOXES,
) -> Floats:
    """Decode every cell of every level.

    Args:
        heads: raw logits, one (B, anchors, H, W, 5 + classes) a level.
        anchors: (level, anchor, 2) in canvas pixels.
        strides: canvas pixels per cell, one a level.
        decoding: the model's.

    Returns:
        (B, n, 5 + classes): `xyxy` in canvas pixels, objectness and class probabilities in [0, 1]; n runs over
        levels, then anchors, rows and columns.
    """
    images = len(heads[0])
    levels = []
    scales = decoding.scales(len(strides))
    for head, sizes, stride, scale in zip(map(to_numpy, heads), anchors, strides, scales, strict=True):
        level = _Level(head.shape, np.asarray(sizes, np.float32), stride, decoding.kind, scale)
        cells = np.tile(np.arange(np.prod(head.shape[1:4])), images)
        logits = head.reshape(-1, head.shape[4])
        rows = _logistic(logits)
        rows[:, :4] = _boxes(logits[:, :4], rows[:, :4], cells, level)
        levels.append(rows.reshape(images, -1, head.shape[4]))
    return np.concatenate(levels, axis=1)


class _Level(NamedTuple):
    """One level: shape of its head, anchors (a, 2) in px, px per cell, and how its boxes are meant."""

    shape: tuple[int, ...]
    anchors: Floats
    stride: int
    kind: str
    scale: float


def _boxes(logits: Floats, values: Floats, cells: NDArray[np.intp], level: _Level) -> Floats:
    """Boxes (n, 4) of logits (n, 4) and their logistic function, at flat positions `cells` (n,) of a level."""
    anchor, position = np.divmod(cells, level.shape[2] * level.shape[3])
    row, column = np.divmod(position, level.shape[3])
    corner = np.stack([column, row], axis=1).astype(np.float32)
    anchors = level.anchors[anchor]
    return np.concatenate(box_corners(logits, values, corner, anchors, level.stride, level.kind, level.scale), axis=1)


def cells_above(
    heads: Sequence[Floats | Tensor],
    anchors: Anchors,
    strides: Sequence[int],
    objectness: float,
    decoding: BoxDecoding = YOLOV5_BOXES,
) -> list[Cells]:
    """The cells of each image whose objectness exceeds a threshold in [0, 1), in the order of `decode`.

    A score is the product of objectness and a probability, so no cell below the score threshold can detect
    anything; and boxes are decoded only of cells that are asked for. At the usual thresholds this leaves out most of
    the work.
    """
    arrays = [to_numpy(head) for head in heads]
    scales = decoding.scales(len(strides))
    levels = tuple(
        _Level(head.shape, np.asarray(sizes, np.float32), stride, decoding.kind, scale)
        for head, sizes, stride, scale in zip(arrays, anchors, strides, scales, strict=True)
    )
    threshold = _logit(objectness)
    images = []
    for image in range(len(arrays[0])):
        rows = [head[image].reshape(-1, head.shape[4]) for head in arrays]
        chosen = [np.flatnonzero(logits[:, 4] > threshold) for logits in rows]
        logits = np.concatenate([part.take(cells, axis=0) for part, cells in zip(rows, chosen, strict=True)])
        confidences = _logistic(logits[:, 4:])
        above = np.flatnonzero(confidences[:, 0] > objectness)
        level = np.repeat(np.arange(len(levels)), [len(cells) for cells in chosen])
        images.append(Cells(confidences[above], logits[above, :4], np.concatenate(chosen)[above], level[above], levels))
    return images


@dataclass(frozen=True)
class Cells:
    """Cells of one image whose boxes are not decoded yet.

    Attributes:
        confidences: (n, 1 + classes) objectness and class probabilities in [0, 1].
    """

    confidences: Floats
    _logits: Floats
    _positions: NDArray[np.intp]
    _level_of: NDArray[np.intp]
    _levels: tuple[_Level, ...]

    def boxes(self, which: NDArray[np.intp]) -> Floats:
        """`xyxy` in canvas pixels (len(which), 4) of the cells with these numbers."""
        out = np.empty((len(which), 4), np.float32)
        level_of = self._level_of[which]
        for number, level in enumerate(self._levels):
            mine = np.flatnonzero(level_of == number)
            cells = which[mine]
            logits = self._logits[cells]
            out[mine] = _boxes(logits, _logistic(logits), self._positions[cells], level)
        return out


def box_corners(
    logits: Values, values: Values, cell: Values, anchors: Values, stride: int, kind: str, scale: float
) -> tuple[Values, Values]:
    """The formula of `BoxDecoding`, for arrays and tensors alike: corners of boxes.

    Args:
        logits: t_x, t_y, t_w, t_h, (..., 4).
        values: their logistic function.
        cell: column and row of the cell, (..., 2).
        anchors: width and height in canvas pixels, (..., 2).
        stride: canvas pixels per cell.
        kind: of the decoding.
        scale: `scale_x_y` of the level.

    Returns:
        Top-left and bottom-right corners in canvas pixels, (..., 2) each.
    """
    centre = (values[..., :2] * scale - (scale - 1) / 2 + cell) * stride
    if kind == "yolov5":
        half = (values[..., 2:] * 2) ** 2 * (anchors / 2)
    else:
        limited = logits[..., 2:].clip(max=EXP_LIMIT)
        half = (np.exp(limited) if isinstance(limited, np.ndarray) else limited.exp()) * (anchors / 2)
    return centre - half, centre + half


def _logistic(x: Floats) -> Floats:
    """1 / (1 + exp(-x)). NumPy's result does not depend on an element's position; PyTorch's does, by one bit."""
    with np.errstate(over="ignore"):  # exp(-x) is infinite below -88, and its reciprocal the right 0
        y = np.exp(-x)
    y += 1
    return np.reciprocal(y, out=y)


def to_numpy(head: Floats | Tensor) -> Floats:
    """A head output as a float32 array, whatever device or precision it came from."""
    if not isinstance(head, np.ndarray):
        head = head.detach().float().cpu().numpy()
    return np.ascontiguousarray(head, np.float32)


def _logit(probability: float) -> float:
    """The logit just below a probability, so that rounding loses no cell that lies exactly above it."""
    if probability <= 0:
        return -np.inf
    return float(np.log(probability) - np.log1p(-probability)) - 1e-3
