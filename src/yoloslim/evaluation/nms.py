"""From raw outputs to detections by the rules of `runner.suppression`, which boards follow too, with OpenCV's speed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import ConfigError
from yoloslim.heads import Head
from yoloslim.heads.boxes import BoxesHead
from yoloslim.runner.cells import Cells
from yoloslim.runner.heads import cells
from yoloslim.runner.suppression import suppress

Floats = NDArray[np.float32]
FEW = 6144
"""Candidates of an image that are looked at all at once; among more, most often a part is enough."""


@dataclass(frozen=True)
class NmsOptions:
    """How candidates become detections.

    Attributes:
        conf_thres: a candidate needs a score (objectness times class probability) above this, in [0, 1).
        iou_thres: a box is removed when a better one of its class overlaps it by more than this, in [0, 1].
        max_det: detections kept per image, best first; None keeps all.
        multi_label: every class above the threshold is a candidate, as YOLO trainers validate; otherwise
            only the best class of a cell.
        objectness_thres: a cell needs objectness above this before its classes are looked at, in [0, 1); for heads
            that have one.
    """

    conf_thres: float = 0.001
    iou_thres: float = 0.6
    max_det: int | None = 300
    multi_label: bool = True
    objectness_thres: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("conf_thres", self.conf_thres), ("objectness_thres", self.objectness_thres)):
            if not isinstance(value, Real) or not 0 <= value < 1:
                raise ConfigError(f"{name}={value!r} is out of range; give a number from 0 to below 1")
        if not isinstance(self.iou_thres, Real) or not 0 <= self.iou_thres <= 1:
            raise ConfigError(f"iou_thres={self.iou_thres!r} is out of range; give a number from 0 to 1")
        if self.max_det is not None and self.max_det < 1:
            raise ConfigError(f"max_det={self.max_det} keeps nothing; give 1 or more, or none to keep all")


def mindx_options(score: float = 0.001, objectness: float = 0.001, iou: float = 0.6) -> NmsOptions:
    """What the MindX SDK's YOLO post-processor does: one label a cell, strict thresholds, no limit on boxes."""
    return NmsOptions(score, iou, max_det=None, multi_label=False, objectness_thres=objectness)


def detect(outputs: Sequence[Floats], head: Head, options: NmsOptions | None = None) -> list[Floats]:
    """Detections of every image of a batch.

    Args:
        outputs: raw outputs (B, ...) by level, float32, finest first.
        head: what gave them.
        options: None as trainers validate.

    Returns:
        One (m, 6) array an image: `xyxy` in canvas pixels, score, class; best first. Equal scores keep the
        order of cells, then of classes.
    """
    values = asdict(options or NmsOptions())
    return [suppress(found, values, _greedy) for found in cells(outputs, head.facts(), values)]


def candidates(outputs: Sequence[Floats], head: Head, options: NmsOptions) -> list[Floats]:
    """What `detect` chooses from: all (n, 6) of every image above the threshold of score, best first."""
    values = asdict(options) | {"max_det": None}
    return [suppress(replace(found, nms=False), values) for found in cells(outputs, head.facts(), values)]


def choose(rows: Floats, head: Head, options: NmsOptions) -> Floats:
    """The detections (m, 6) that `detect` finds among candidates (n, 6) of an image."""
    most = options.max_det or len(rows)
    if not head.needs_nms:
        return rows[:most]
    looked_at = len(rows) if len(rows) <= FEW else most
    while True:  # what the best hold is decided without the others
        best = rows[:looked_at]
        kept = _greedy(best[:, :4], best[:, 5].astype(np.intp), best[:, 4], options.iou_thres)[:most]
        if len(kept) == most or looked_at >= len(rows):
            return best[kept]
        looked_at *= 4


def showing(head: Head, conf: float | None = None, iou: float | None = None) -> NmsOptions:
    """How detections are chosen that people look at: one class a cell, by default scores above 0.25, overlap 0.45.

    Args:
        head: of the model.
        conf: lowest score; None for the usual one, or that of a graph which suppresses inside, where that is higher.
        iou: overlap above which the worse box goes; None for the usual one.

    Raises:
        ConfigError: a threshold is out of range, or one that is asked for was decided when the graph was exported.
    """
    if isinstance(head, BoxesHead) and head.form == "final":
        way = f"the graph decided it when it was exported ({head.rule}); export raw heads to choose again"
        if iou is not None:
            raise ConfigError(f"an overlap of {iou:g} cannot be had: {way}")
        if conf is not None and conf < head.least:
            raise ConfigError(f"scores down to {conf:g} cannot be had: {way}")
        conf = max(0.25, head.least) if conf is None else conf
    return NmsOptions(0.25 if conf is None else conf, 0.45 if iou is None else iou, multi_label=False)


def describe_suppression(head: Head, options: NmsOptions) -> str:
    """How detections of a head are chosen, in words."""
    kept = "all" if options.max_det is None else f"the {options.max_det} best"
    if isinstance(head, BoxesHead) and head.form == "final":
        return f"inside the graph: {head.rule}; {kept}"
    if not head.needs_nms:
        return f"none, {kept} of a head that finds each object once"
    return f"NMS at an overlap of {options.iou_thres:g}, {kept}"


def decode(outputs: Sequence[Floats], head: Head) -> tuple[Floats, Floats]:
    """Boxes (B, n, 4), `xyxy` in canvas pixels, and scores (B, n, classes) of every cell."""
    found = cells(outputs, head.facts(), {"conf_thres": -1, "objectness_thres": 0})
    boxes = [each.boxes(np.arange(len(each.scores))) for each in found]
    return np.stack(boxes), np.stack([each.scores for each in found])


def nms(boxes: Floats, scores: Floats, options: NmsOptions | None = None) -> list[Floats]:
    """Detections of every image, as `detect` gives them, of boxes (B, n, 4) and scores (B, n, classes)."""
    values = asdict(options or NmsOptions())
    return [suppress(Cells(s, b.__getitem__), values, _greedy) for b, s in zip(boxes, scores, strict=True)]


def _greedy(boxes: Floats, labels: NDArray[np.intp], scores: Floats, iou_thres: float) -> NDArray[np.intp]:
    """Positions that survive, ascending; the input is sorted by falling score. Corners may come in any order."""
    first = np.minimum(boxes[:, :2], boxes[:, 2:])
    xywh = np.concatenate([first, np.maximum(boxes[:, :2], boxes[:, 2:]) - first], axis=1)
    keep = [np.empty(0, np.intp)]
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        if len(mine) > 1:
            # OpenCV converts lists in half the time that it takes over rows of an array
            kept = cv2.dnn.NMSBoxes(xywh[mine].tolist(), scores[mine].tolist(), 0.0, iou_thres)
            mine = mine[np.asarray(kept, np.intp)]
        keep.append(mine)
    return np.sort(np.concatenate(keep))
