"""Graphs that decode inside: boxes and probabilities in one of the published forms, or in that of our own exports.

`objectness` (B, n, 5 + classes): centre, size, objectness, classes; YOLOv5, YOLOv7 and their kin.
`transposed` (B, 4 + classes, n): centre, size, classes; YOLOv8 and YOLO11.
`pair` (B, n, 4) corners, and (B, n, classes); our exports of decoded outputs.
`final` (B, n, 6): corners, score, class, best first and suppressed already; YOLOv10, YOLO26 and exports with NMS.
Boxes are in pixels of the square input, probabilities in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cells import Cells


def cells(outputs: Sequence[np.ndarray], head: dict[str, Any], options: dict[str, Any]) -> list[Cells]:
    """See `heads.cells`."""
    if head["form"] == "pair":
        return [_pair(boxes, scores, head, options) for boxes, scores in zip(*outputs)]
    read = {"objectness": _objectness, "transposed": _transposed, "final": _final}[head["form"]]
    return [read(image, head, options) for image in outputs[0]]


def _objectness(image: np.ndarray, head: dict[str, Any], options: dict[str, Any]) -> Cells:
    limit = max(options["conf_thres"], options["objectness_thres"])
    rows = image[image[:, 4] > limit]  # a score is never above the objectness
    return Cells(rows[:, 5:] * rows[:, 4:5], _corners(rows[:, :4]).__getitem__)


def _transposed(image: np.ndarray, head: dict[str, Any], options: dict[str, Any]) -> Cells:
    chosen = image[:, image[4:].max(axis=0) > options["conf_thres"]].T
    return Cells(np.ascontiguousarray(chosen[:, 4:]), _corners(chosen[:, :4]).__getitem__)


def _pair(boxes: np.ndarray, scores: np.ndarray, head: dict[str, Any], options: dict[str, Any]) -> Cells:
    chosen = scores.max(axis=1) > options["conf_thres"]
    return Cells(scores[chosen], boxes[chosen].__getitem__, nms=not head["once"])


def _final(image: np.ndarray, head: dict[str, Any], options: dict[str, Any]) -> Cells:
    rows = image[image[:, 4] > options["conf_thres"]]
    scores = np.zeros((len(rows), head["classes"]), np.float32)
    labels = np.clip(rows[:, 5].astype(np.intp), 0, head["classes"] - 1)
    scores[np.arange(len(rows)), labels] = rows[:, 4]
    return Cells(scores, np.ascontiguousarray(rows[:, :4]).__getitem__, nms=False)


def _corners(boxes: np.ndarray) -> np.ndarray:
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
