"""The anchor-free heads of YOLOv8, YOLO11 and YOLO26: logits (B, 4 bins + classes, H, W) a level.

Channels of the box are side by side: left, top, right, bottom, each with its bins. A score is the logistic function
of a class logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..cells import Cells, logistic, logit


def cells(outputs: Sequence[np.ndarray], head: dict[str, Any], options: dict[str, Any]) -> list[Cells]:
    """See `heads.cells`. Cells run over levels, then rows and columns.

    Only cells with a class logit above that of the score threshold are looked at, and boxes are decoded only of cells
    that are asked for. Of two branches the one that answers is read, wherever both are given.
    """
    strides, bins = head["strides"], head["bins"]
    nms = head["answers"] != "one_to_one"
    outputs = outputs[: len(strides)] if nms else outputs[-len(strides) :]
    threshold = logit(options["conf_thres"])
    images = []
    for image in range(len(outputs[0])):
        logits, places = [], []
        for output in outputs:
            scores = output[image, 4 * bins :].reshape(output.shape[1] - 4 * bins, -1)
            chosen = np.flatnonzero(scores.max(axis=0) > threshold)
            logits.append(scores[:, chosen].T)
            places.append(chosen)
        level_of = np.repeat(np.arange(len(strides)), [len(each) for each in places])
        boxes = _Boxes([output[image, : 4 * bins] for output in outputs], np.concatenate(places), level_of, strides)
        images.append(Cells(logistic(np.concatenate(logits)), boxes.decode, nms))
    return images


class _Boxes(NamedTuple):
    """Box logits (4 bins, H, W) by level, and of each cell its flat position and level."""

    logits: list[np.ndarray]
    positions: np.ndarray
    level_of: np.ndarray
    strides: Sequence[int]

    def decode(self, which: np.ndarray) -> np.ndarray:
        """Boxes (len(which), 4) of the cells with these numbers."""
        out = np.empty((len(which), 4), np.float32)
        level_of = self.level_of[which]
        for level, (logits, stride) in enumerate(zip(self.logits, self.strides)):
            mine = np.flatnonzero(level_of == level)
            positions = self.positions[which[mine]]
            sides = distances(logits.reshape(len(logits), -1)[:, positions])
            row, column = np.divmod(positions, logits.shape[2])
            centre = np.stack([column, row]).astype(np.float32) + np.float32(0.5)
            out[mine] = np.concatenate([centre - sides[:2], centre + sides[2:]]).T * np.float32(stride)
        return out


def distances(logits: np.ndarray) -> np.ndarray:
    """Distances (4, k) of the sides from the cell's centre, in cells, of logits (4 bins, k)."""
    sides = logits.reshape(4, len(logits) // 4, logits.shape[1])
    if sides.shape[1] == 1:
        return sides[:, 0]
    weights = np.exp(sides - sides.max(axis=1, keepdims=True))
    bins = np.arange(sides.shape[1], dtype=np.float32)[:, None]
    return (weights * bins).sum(axis=1) / weights.sum(axis=1)  # type: ignore[no-any-return]
