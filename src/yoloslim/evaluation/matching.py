"""Which detection found which object: flat arrays and the greedy matching rule of the VOC devkit.

Each detection looks only at the object of its class that it overlaps most. The best-scored detection of an
object takes it; later ones are duplicates, that is false. Detections of a difficult object count as neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.voc import Annotation

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Objects of all images: `image` and `label` (n,), `boxes` (n, 4) `xyxy` in pixels, `difficult` (n,)."""

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    boxes: Doubles
    difficult: NDArray[np.bool_]


@dataclass(frozen=True)
class RankedDetections:
    """Detections of all images, best first: `image`, `label`, `score` (n,), `boxes` (n, 4) `xyxy` in pixels."""

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    score: Doubles
    boxes: Doubles


def flatten_truth(truth: Sequence[Annotation]) -> Truth:
    """One array over all images."""
    return Truth(
        np.repeat(np.arange(len(truth)), [len(a.labels) for a in truth]),
        np.concatenate([np.empty(0, np.int64), *(a.labels for a in truth)]).astype(np.int64),
        np.concatenate([np.empty((0, 4)), *(a.boxes.reshape(-1, 4) for a in truth)]).astype(np.float64),
        np.concatenate([np.empty(0, np.bool_), *(a.difficult for a in truth)]).astype(np.bool_),
    )


def flatten_detections(detections: Sequence[NDArray[np.float32]]) -> RankedDetections:
    """One array over all images' (n, 6) detections, sorted by falling score; equal scores keep their order."""
    rows = np.concatenate([np.empty((0, 6)), *(d.reshape(-1, 6) for d in detections)]).astype(np.float64)
    image = np.repeat(np.arange(len(detections)), [len(d) for d in detections])
    order = np.argsort(-rows[:, 4], kind="stable")
    rows = rows[order]
    return RankedDetections(image[order], rows[:, 5].astype(np.int64), rows[:, 4], rows[:, :4])


@dataclass(frozen=True)
class Matches:
    """Every detection judged.

    Attributes:
        truth: the objects.
        found: the detections, best first.
        right: (n,) true positives.
        counted: (n,) true and false positives; the others found a difficult object and do not matter.
    """

    truth: Truth
    found: RankedDetections
    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]

    def objects(self, label: int) -> int:
        """How many objects of a class are to be found; difficult ones are not."""
        return int(np.count_nonzero((self.truth.label == label) & ~self.truth.difficult))

    def of(self, label: int) -> tuple[NDArray[np.bool_], Doubles]:
        """Right or wrong, and score, of the counted detections of a class, best first."""
        mine = (self.found.label == label) & self.counted
        return self.right[mine], self.found.score[mine]


def match_detections(
    annotations: Sequence[Annotation], detections: Sequence[NDArray[np.float32]], iou_thres: float = 0.5
) -> Matches:
    """Judge the (n, 6) detections of every image; a match needs at least `iou_thres` overlap, in [0, 1]."""
    truth, found = flatten_truth(annotations), flatten_detections(detections)
    best, iou = _best_object(truth, found)
    hit = (best >= 0) & (iou >= iou_thres)
    counted = np.ones(len(best), np.bool_)
    counted[hit] = ~truth.difficult[best[hit]]
    candidates = np.flatnonzero(hit & counted)
    _, first = np.unique(best[candidates], return_index=True)
    right = np.zeros(len(best), np.bool_)
    right[candidates[first]] = True
    return Matches(truth, found, right, counted)


def _best_object(truth: Truth, found: RankedDetections) -> tuple[NDArray[np.int64], Doubles]:
    """For every detection the object of its image and class with the largest overlap (-1: none), and that IoU."""
    best, best_iou = np.full(len(found.score), -1, np.int64), np.zeros(len(found.score))
    classes = 1 + max(truth.label.max(initial=0), found.label.max(initial=0))
    keys, wanted = truth.image * classes + truth.label, found.image * classes + found.label
    order = np.argsort(keys, kind="stable")
    start = np.searchsorted(keys[order], wanted, "left")
    count = np.searchsorted(keys[order], wanted, "right") - start
    some = np.flatnonzero(count)
    if not len(some):
        return best, best_iou
    start, count = start[some], count[some]
    ends = np.cumsum(count)
    begins = ends - count
    within = np.arange(ends[-1]) - np.repeat(begins, count)
    objects = order[np.repeat(start, count) + within]
    iou = _iou(np.repeat(found.boxes[some], count, axis=0), truth.boxes[objects])
    best_iou[some] = np.maximum.reduceat(iou, begins)
    is_best = iou == np.repeat(best_iou[some], count)
    first = np.minimum.reduceat(np.where(is_best, np.arange(ends[-1]), ends[-1]), begins)
    best[some] = objects[first]
    return best, best_iou


def _iou(a: Doubles, b: Doubles) -> Doubles:
    """Intersection over union of boxes of equal rank, (n,)."""
    size = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    overlap = size.prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - overlap
    iou: Doubles = overlap / np.maximum(union, 1e-12)
    return iou
