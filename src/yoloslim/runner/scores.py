"""Mean average precision by VOC2007 and COCO rules in plain numpy, for a board without evaluation libraries.

The library's tests hold these equal to the library's own metrics, which run in hotcoco.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .voc import Truth

IOUS = np.linspace(0.5, 0.95, 10)
_MAX_DET = 100


def mean_average_precision(truth: Sequence[Truth], detections: Sequence[np.ndarray], classes: int) -> dict[str, float]:
    """`map50`, `map50_95` (COCO: all areas, best 100 detections of a class in an image) and `map50_voc07`.

    Args:
        truth: objects of every image; difficult ones are neither asked for nor punished.
        detections: (n, 6) of every image, best first: `xyxy` in image pixels, score, class.
        classes: how many.
    """
    coco, voc = [], []
    for label in range(classes):
        total = sum(int(((t.labels == label) & ~t.difficult).sum()) for t in truth)
        if total:
            pairs = [_of_class(t, d, label) for t, d in zip(truth, detections)]
            coco.append(_coco(pairs, total))
            voc.append(_voc07(pairs, total))
    table = np.array(coco).reshape(-1, len(IOUS))
    means = (table[:, 0], table, np.array(voc))
    return {
        name: float(values.mean()) if values.size else 0.0
        for name, values in zip(("map50", "map50_95", "map50_voc07"), means)
    }


def _of_class(truth: Truth, rows: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one image and class: detections (n, 5) best first, boxes (m, 4), difficult (m,)."""
    mine, asked = rows[rows[:, 5] == label, :5].astype(np.float64), truth.labels == label
    order = np.argsort(-mine[:, 4], kind="stable")
    return mine[order], truth.boxes[asked], truth.difficult[asked]


def _coco(pairs: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], total: int) -> np.ndarray:
    """Average precision (10,) of a class, one an overlap."""
    scores, right, ignored = [np.empty(0)], [np.empty((10, 0), np.bool_)], [np.empty((10, 0), np.bool_)]
    for rows, boxes, difficult in pairs:
        rows = rows[:_MAX_DET]
        order = np.argsort(difficult, kind="stable")
        hit = _coco_match(rows, boxes[order], difficult[order])
        scores.append(rows[:, 4])
        right.append(hit == 1)
        ignored.append(hit == 2)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits, skip = np.concatenate(right, axis=1)[:, order], np.concatenate(ignored, axis=1)[:, order]
    true, false = np.cumsum(hits, axis=1, dtype=float), np.cumsum(~hits & ~skip, axis=1, dtype=float)
    result = np.zeros(len(IOUS))
    for i in range(len(IOUS)):
        recall, precision = true[i] / total, true[i] / np.maximum(true[i] + false[i], np.spacing(1))
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        result[i] = best[np.searchsorted(recall, np.linspace(0, 1, 101), side="left")].mean()
    return result


def _coco_match(rows: np.ndarray, boxes: np.ndarray, difficult: np.ndarray) -> np.ndarray:
    """(10, n) for every overlap and detection: 0 wrong, 1 right, 2 neither (it found a difficult object)."""
    verdict = np.zeros((len(IOUS), len(rows)), np.int64)
    if not len(rows) or not len(boxes):
        return verdict
    overlap = iou(rows[:, :4], boxes, difficult)
    taken = np.zeros((len(IOUS), len(boxes)), np.bool_)
    for d in range(len(rows)):
        fits = (overlap[d] >= np.minimum(IOUS, 1 - 1e-10)[:, None]) & ~(taken & ~difficult)
        # An ordinary object is always better than a difficult one; of equal overlaps the last wins, as in COCO.
        value = np.where(fits, overlap[d] + 2 * ~difficult, -1)[:, ::-1]
        best = len(boxes) - 1 - value.argmax(axis=1)
        for i in np.flatnonzero(fits.any(axis=1)):
            taken[i, best[i]] = True
            verdict[i, d] = 2 if difficult[best[i]] else 1
    return verdict


def _voc07(pairs: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], total: int) -> float:
    """11-point average precision of a class: a detection looks only at the object that it overlaps most."""
    found: list[tuple[float, int, tuple[int, int] | None]] = []
    for image, (rows, boxes, difficult) in enumerate(pairs):
        overlap = iou(rows[:, :4], boxes)
        for row, line in zip(rows, overlap):
            best = int(line.argmax()) if len(line) else -1
            hit = best >= 0 and line[best] >= 0.5
            if not (hit and difficult[best]):
                found.append((-row[4], len(found), (image, best) if hit else None))
    hits, seen = [], set()
    for _, _, target in sorted(found, key=lambda item: item[:2]):
        hits.append(target is not None and target not in seen)
        seen.add(target)
    true = np.cumsum(hits)
    precision = true / np.arange(1, len(true) + 1)
    return sum(float(precision[10 * true >= k * total].max(initial=0)) for k in range(11)) / 11


def iou(a: np.ndarray, b: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Overlap (n, m) of boxes (n, 4) and (m, 4); in the columns of `crowd` the union is the first box alone."""
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    overlap = np.maximum(size, 0).prod(axis=2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(axis=1)
    union = area_a[:, None] + area_b[None] - overlap
    if crowd is not None:
        union = np.where(crowd[None], area_a[:, None], union)
    ratio: np.ndarray = overlap / np.maximum(union, 1e-12)
    return ratio
