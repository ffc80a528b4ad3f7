"""Non-maximum suppression: exact, greedy, per class, deterministic, and never limited by the clock.

Greedy suppression in score order decides about a box from better boxes only. So the result for the best K
candidates is a prefix of the result for all of them: when it already holds `max_det` boxes, the thousands of
candidates below cannot change it and are never looked at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import ConfigError
from yoloslim.evaluation.decode import Anchors, Floats, cells_above
from yoloslim.models.spec import YOLOV5_BOXES, BoxDecoding

_FIRST_PREFIX = 384
_PREFIX_GROWTH = 2


@dataclass(frozen=True)
class NmsOptions:
    """How candidates become detections.

    Attributes:
        conf_thres: a candidate needs a score (objectness times class probability) above this, in [0, 1).
        iou_thres: a box is removed when a better one of its class overlaps it by more than this, in [0, 1].
        max_det: detections kept per image, best first; None keeps all.
        multi_label: every class above the threshold is a candidate, as YOLO trainers validate; otherwise
            only the best class of a cell.
        objectness_thres: a cell needs objectness above this before its classes are looked at, in [0, 1).
    """

    conf_thres: float = 0.001
    iou_thres: float = 0.6
    max_det: int | None = 300
    multi_label: bool = True
    objectness_thres: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("conf_thres", self.conf_thres), ("objectness_thres", self.objectness_thres)):
            if not 0 <= value < 1:
                raise ConfigError(f"{name}={value} is out of range; give a number from 0 to below 1")
        if not 0 <= self.iou_thres <= 1:
            raise ConfigError(f"iou_thres={self.iou_thres} is out of range; give a number from 0 to 1")
        if self.max_det is not None and self.max_det < 1:
            raise ConfigError(f"max_det={self.max_det} keeps nothing; give 1 or more, or none to keep all")


def mindx_options(score: float = 0.001, objectness: float = 0.001, iou: float = 0.6) -> NmsOptions:
    """What the MindX SDK's YOLO post-processor does: one label a cell, strict thresholds, no limit on boxes."""
    return NmsOptions(score, iou, max_det=None, multi_label=False, objectness_thres=objectness)


def detect(
    heads: Sequence[Floats],
    anchors: Anchors,
    strides: Sequence[int],
    options: NmsOptions | None = None,
    decoding: BoxDecoding = YOLOV5_BOXES,
) -> list[Floats]:
    """Raw heads (B, anchors, H, W, 5 + classes) a level to detections, as `nms` of `decode` but faster."""
    options = options or NmsOptions()
    objectness = max(options.conf_thres, options.objectness_thres)
    images = cells_above(heads, anchors, strides, objectness, decoding)
    return [_suppress(cells.confidences, cells.boxes, options) for cells in images]


def nms(decoded: Floats, options: NmsOptions | None = None) -> list[Floats]:
    """Detections of every image of a decoded batch (B, n, 5 + classes).

    Returns:
        One (m, 6) array an image: `xyxy` in canvas pixels, score, class; best first. Equal scores keep the
        order of cells, then of classes.
    """
    options = options or NmsOptions()
    return [_suppress(rows[:, 4:], rows[:, :4].__getitem__, options) for rows in decoded]


def _suppress(confidences: Floats, boxes_of: Callable[[NDArray[np.intp]], Floats], options: NmsOptions) -> Floats:
    """Detections of one image out of objectness and probabilities (n, 1 + classes), and a way to boxes of cells."""
    cells, labels, scores = _candidates(confidences, options)
    prefix = _FIRST_PREFIX if options.max_det else len(scores)
    while True:
        best = _best(scores, prefix)
        boxes = boxes_of(cells[best])
        kept = _greedy(boxes, labels[best], scores[best], options.iou_thres)[: options.max_det]
        enough = len(kept) == options.max_det
        if enough or len(best) == len(scores):
            break
        prefix *= _PREFIX_GROWTH
    keep = best[kept]
    columns = [boxes[kept], scores[keep, None], labels[keep, None].astype(np.float32)]
    return np.concatenate(columns, axis=1)


def _candidates(confidences: Floats, options: NmsOptions) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Cell, class and score of every candidate above the threshold, in the order of cells, then classes."""
    objectness = confidences[:, :1]
    scores = np.where(objectness > options.objectness_thres, confidences[:, 1:] * objectness, 0)
    if options.multi_label:
        flat = np.flatnonzero(scores > options.conf_thres)
        cells, labels = np.divmod(flat, max(1, scores.shape[1]))
        return cells, labels, scores.reshape(-1)[flat]
    best = scores.argmax(axis=1)
    cells = np.flatnonzero(scores[np.arange(len(scores)), best] > options.conf_thres)
    return cells, best[cells], scores[cells, best[cells]]


def _best(scores: Floats, count: int) -> NDArray[np.intp]:
    """Indices of the `count` best scores and of all that equal the last of them, best first, ties in order."""
    if count >= len(scores):
        return np.argsort(-scores, kind="stable")
    last = np.partition(scores, len(scores) - count)[len(scores) - count]
    chosen = np.flatnonzero(scores >= last)
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def _greedy(boxes: Floats, labels: NDArray[np.intp], scores: Floats, iou_thres: float) -> NDArray[np.intp]:
    """Positions that survive, ascending; the input is sorted by falling score."""
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    keep = [np.empty(0, np.intp)]
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        if len(mine) > 1:
            # OpenCV converts lists in half the time that it takes over rows of an array
            kept = cv2.dnn.NMSBoxes(xywh[mine].tolist(), scores[mine].tolist(), 0.0, iou_thres)
            mine = mine[np.asarray(kept, np.intp)]
        keep.append(mine)
    return np.sort(np.concatenate(keep))
