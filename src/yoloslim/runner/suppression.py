"""Candidates to detections: exact, greedy, per class, deterministic, and never limited by the clock.

Greedy suppression in score order decides about a box from better boxes only. So the result for the best K
candidates is a prefix of the result for all of them: when it already holds `max_det` boxes, the thousands of
candidates below cannot change it and are never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import heads
from .cells import Cells

DEFAULTS = {"conf_thres": 0.001, "iou_thres": 0.6, "max_det": 300, "multi_label": True, "objectness_thres": 0.0}
"""How candidates become detections; the meaning is that of `evaluation.nms.NmsOptions`."""

Greedy = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
"""Maps boxes (n, 4), labels (n,) and scores (n,), best first, and a threshold to the places that survive, ascending."""

_FIRST_PREFIX = 1536
_PREFIX_GROWTH = 4
"""At a confidence of 0.001 a first look at fewer finds `max_det` boxes next to never, and would be for nothing."""


def find(outputs: Sequence[np.ndarray], bundle: dict[str, Any], options: dict[str, Any]) -> np.ndarray:
    """Detections (n, 6) of one image: `xyxy` in canvas pixels, score, class; best first.

    Args:
        outputs: what the model gave for it, (1, ...) a level, in any order.
        bundle: `head` and `outputs` of bundle.json.
        options: see `DEFAULTS`.
    """
    ordered = heads.in_order(outputs, [output["shape"] for output in bundle["outputs"]])
    return suppress(heads.cells(ordered, bundle["head"], options)[0], options)


def suppress(cells: Cells, options: dict[str, Any], greedy: Greedy | None = None) -> np.ndarray:
    """Detections (n, 6) of one image, best first; equal scores keep the order of cells, then of classes.

    Args:
        cells: its candidates; where they need no suppression, the `max_det` best are the answer.
        options: see `DEFAULTS`.
        greedy: a faster way to suppress than plain NumPy.
    """
    places, labels, scores = _candidates(cells.scores, options)
    limit = options["max_det"]
    few = len(scores) <= _FIRST_PREFIX * _PREFIX_GROWTH  # for all of them at once
    prefix = len(scores) if few or not limit else _FIRST_PREFIX if cells.nms else limit
    while True:
        best = _best(scores, prefix)
        boxes = cells.boxes(places[best])
        if cells.nms:
            kept = (greedy or suppress_greedily)(boxes, labels[best], scores[best], options["iou_thres"])[:limit]
        else:
            kept = np.arange(len(best))[:limit]
        if len(kept) == limit or len(best) == len(scores):
            break
        prefix *= _PREFIX_GROWTH
    keep = best[kept]
    columns = [boxes[kept], scores[keep, None], labels[keep, None].astype(np.float32)]
    return np.concatenate(columns, axis=1).astype(np.float32, copy=False)


def _candidates(scores: np.ndarray, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell, class and score of every candidate above the threshold, in the order of cells, then classes."""
    if options["multi_label"]:
        flat = np.flatnonzero(scores > options["conf_thres"])
        places, labels = np.divmod(flat, max(1, scores.shape[1]))
        return places, labels, scores.reshape(-1)[flat]
    best = scores.argmax(axis=1)
    places = np.flatnonzero(scores[np.arange(len(scores)), best] > options["conf_thres"])
    return places, best[places], scores[places, best[places]]


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` best scores and of all that equal the last of them, best first, ties in order."""
    if count >= len(scores):
        return np.argsort(-scores, kind="stable")
    last = np.partition(scores, len(scores) - count)[len(scores) - count]
    chosen = np.flatnonzero(scores >= last)
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def suppress_greedily(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, iou_thres: float) -> np.ndarray:
    """See `Greedy`. Corners may come in any order, as in ONNX's NonMaxSuppression."""
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive, keep = np.ones(len(boxes), np.bool_), []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        keep.append(i)
        rest = i + 1 + np.flatnonzero(alive[i + 1 :] & (labels[i + 1 :] == labels[i]))
        size = np.minimum(boxes[i, 2:], boxes[rest, 2:]) - np.maximum(boxes[i, :2], boxes[rest, :2])
        overlap = np.maximum(size, 0).prod(axis=1)
        alive[rest[overlap > iou_thres * (area[i] + area[rest] - overlap)]] = False
    return np.array(keep, np.intp)
