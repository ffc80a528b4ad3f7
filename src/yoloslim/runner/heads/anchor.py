"""The anchor heads of YOLOv3 to YOLOv5: logits (B, anchors, H, W, 5 + classes) a level.

The formulas of boxes are `yoloslim.heads.anchor.BoxDecoding`'s, written for arrays and tensors alike. Objectness and
class probabilities are the logistic function of their logits, and a score is their product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..cells import Cells, logistic, logit
from ..errors import RunnerError

EXP_LIMIT = 10.0
"""Largest logit that is given to exp: 22,026 times the anchor is more than any image, and still finite."""


class _Level(NamedTuple):
    """One level: shape of its output, anchors (a, 2) in px, px per cell, and how its boxes are meant."""

    shape: tuple[int, ...]
    anchors: np.ndarray
    stride: int
    kind: str
    scale: float


def cells(outputs: Sequence[np.ndarray], head: dict[str, Any], options: dict[str, Any]) -> list[Cells]:
    """See `heads.cells`. Cells run over levels, then anchors, rows and columns.

    No cell with an objectness below the score threshold can detect anything, and boxes are decoded only of cells that
    are asked for. At the usual thresholds this leaves out most of the work.
    """
    objectness = max(options["conf_thres"], options["objectness_thres"] or -1)
    threshold = logit(objectness)
    levels = _levels(outputs, head)
    if len(levels) != len(outputs) or min(head["strides"]) < 1:
        raise RunnerError(
            "model",
            "the head describes {} levels with strides {}, the model gives {}: copy the bundle again".format(
                len(levels), list(head["strides"]), len(outputs)
            ),
        )
    images = []
    for image in range(len(outputs[0])):
        rows = [output[image].reshape(-1, output.shape[4]) for output in outputs]
        chosen = [np.flatnonzero(logits[:, 4] > threshold) for logits in rows]
        logits = np.concatenate([part.take(places, axis=0) for part, places in zip(rows, chosen)])
        confidences = logistic(logits[:, 4:])
        above = np.flatnonzero(confidences[:, 0] > objectness)
        level_of = np.repeat(np.arange(len(levels)), [len(places) for places in chosen])[above]
        boxes = _Boxes(logits[above, :4], np.concatenate(chosen)[above], level_of, levels).decode
        confidences = confidences[above]
        images.append(Cells(confidences[:, 1:] * confidences[:, :1], boxes))
    return images


def _levels(outputs: Sequence[np.ndarray], head: dict[str, Any]) -> list[_Level]:
    decoding = head["decoding"]
    usual = 2.0 if decoding["kind"] == "yolov5" else 1.0
    scales = decoding["scale_x_y"] or [usual] * len(outputs)
    return [
        _Level(output.shape, np.asarray(sizes, np.float32), stride, decoding["kind"], scale)
        for output, sizes, stride, scale in zip(outputs, head["anchors"], head["strides"], scales)
    ]


class _Boxes(NamedTuple):
    """Box logits (n, 4) of cells at flat positions (n,) of their levels."""

    logits: np.ndarray
    positions: np.ndarray
    level_of: np.ndarray
    levels: list[_Level]

    def decode(self, which: np.ndarray) -> np.ndarray:
        """Boxes (len(which), 4) of the cells with these numbers."""
        out = np.empty((len(which), 4), np.float32)
        level_of = self.level_of[which]
        for number, level in enumerate(self.levels):
            mine = np.flatnonzero(level_of == number)
            places = which[mine]
            out[mine] = _decoded(self.logits[places], self.positions[places], level)
        return out


def _decoded(logits: np.ndarray, positions: np.ndarray, level: _Level) -> np.ndarray:
    """Boxes (n, 4) of logits (n, 4) at flat positions (n,) of a level."""
    anchor, position = np.divmod(positions, level.shape[2] * level.shape[3])
    row, column = np.divmod(position, level.shape[3])
    cell = np.stack([column, row], axis=1).astype(np.float32)
    anchors = level.anchors[anchor]
    values = logistic(logits)
    return np.concatenate(box_corners(logits, values, cell, anchors, level.stride, level.kind, level.scale), axis=1)


def box_corners(
    logits: Any, values: Any, cell: Any, anchors: Any, stride: int, kind: str, scale: float
) -> tuple[Any, Any]:
    """Corners of boxes, for arrays and tensors alike.

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
    centre = (offsets(values[..., :2], scale) + cell) * stride
    half = factors(logits[..., 2:], values[..., 2:], kind) * (anchors / 2)
    return centre - half, centre + half


def offsets(values: Any, scale: float) -> Any:
    """Centre relative to the cell's corner, in cells, of the logistic values of t_x, t_y (..., 2)."""
    return values * scale - (scale - 1) / 2


def factors(logits: Any, values: Any, kind: str) -> Any:
    """Width and height as multiples of the anchor's, of t_w, t_h and their logistic values (..., 2)."""
    if kind == "yolov5":
        return (values * 2) ** 2
    limited = logits.clip(max=EXP_LIMIT)
    return np.exp(limited) if isinstance(limited, np.ndarray) else limited.exp()
