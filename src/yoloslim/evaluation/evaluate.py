"""One evaluation for every runtime: images through a predictor, decoding, suppression, metrics."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.evalset import EvalSet, Part
from yoloslim.data.voc import Annotation
from yoloslim.errors import ConfigError
from yoloslim.evaluation.matching import match_detections
from yoloslim.evaluation.metrics import (
    CONFIDENCES,
    CocoResult,
    WorkingPoint,
    coco_metrics,
    mean_known,
    voc07_ap50,
    working_point,
)
from yoloslim.evaluation.nms import Floats, NmsOptions, detect
from yoloslim.evaluation.predictor import Predictor

logger = logging.getLogger(__name__)

Find = Callable[[Part, Sequence[Floats]], list[Floats]]
"""Maps a batch and its raw outputs to detections (n, 6) of each image, `xyxy` in canvas pixels, best first."""


@dataclass(frozen=True)
class Curves:
    """What precision-recall plots need, at IoU 0.5; classes without objects hold NaN or 0.

    Attributes:
        recall: (101,) 0 to 1.
        precision: (classes, 101) interpolated precision at that recall.
        confidence: (1001,) 0 to 1.
        precision_at: (classes, 1001) precision against confidence.
        recall_at: (classes, 1001) recall against confidence.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    confidence: NDArray[np.float64]
    precision_at: NDArray[np.float64]
    recall_at: NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """What came out of an evaluation.

    Attributes:
        metrics: map50, map50_95, map50_voc07, precision, recall, each in [0, 1]; 0 without objects.
        per_class: class name -> ap50, ap50_95, ap50_voc07, precision, recall, objects (difficult ones
            included); only classes that have objects.
        confidence: threshold in [0, 1] at which precision and recall hold.
        curves: arrays for plots.
        detections: (n, 6) an image: `xyxy` in pixels of the original image, score, class; best first.
    """

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    confidence: float
    curves: Curves
    detections: list[NDArray[np.float32]]


def evaluate(
    predictor: Predictor,
    eval_set: EvalSet,
    options: NmsOptions | None = None,
    batch: int = 32,
    rect: bool = False,
) -> Evaluation:
    """Detect objects on every image of a set and compare them with the truth.

    Args:
        predictor: the runtime.
        eval_set: letterboxed images with their truth; may be empty.
        options: thresholds of suppression; None as trainers validate.
        batch: images a call of the predictor.
        rect: batches by aspect ratio with the least padding, for predictors that take images of any shape.

    Raises:
        ConfigError: predictor and set disagree about image size or classes, or rectangles cannot be had.
    """
    check(predictor, eval_set, rect)
    detections = detect_all(predictor, eval_set, options or NmsOptions(), batch, rect)
    return score(eval_set.annotations, detections, eval_set.classes)


def score(truth: Sequence[Annotation], detections: list[NDArray[np.float32]], classes: Sequence[str]) -> Evaluation:
    """Metrics of detections (n, 6) in original-image pixels, one array an image of `truth`."""
    coco = coco_metrics(truth, detections, classes)
    matches = match_detections(truth, detections)
    voc = voc07_ap50(matches, len(classes))
    point = working_point(matches, len(classes))
    if not any(len(a.labels) for a in truth):
        logger.warning("no object in %d images: every metric is 0 and means nothing", len(truth))
    metrics = {
        "map50": coco.map50,
        "map50_95": coco.map50_95,
        "map50_voc07": mean_known(voc),
        "precision": point.precision,
        "recall": point.recall,
    }
    curves = Curves(np.linspace(0, 1, 101), coco.precision, CONFIDENCES, point.precision_curve, point.recall_curve)
    per_class = _per_class(truth, classes, coco, voc, point)
    return Evaluation(metrics, per_class, point.confidence, curves, detections)


def detect_all(
    predictor: Predictor,
    eval_set: EvalSet,
    options: NmsOptions,
    batch: int = 32,
    rect: bool = False,
    find: Find | None = None,
) -> list[NDArray[np.float32]]:
    """Detections (n, 6) of every image in its original pixels, clipped to it, best first.

    Boxes that lie wholly in the letterbox padding have no area in the image and are left out. `find` stands for
    `detect` with these options.
    """
    detections: list[NDArray[np.float32]] = [np.empty((0, 6), np.float32)] * len(eval_set)

    def place(part: Part, heads: list[NDArray[np.float32]]) -> None:
        found = find(part, heads) if find else detect(heads, predictor.head, options)
        for index, letterbox, rows in zip(part.numbers, part.letterboxes, found, strict=True):
            image = eval_set.annotations[index]
            detections[index] = letterbox.detections_to_image(rows, image.width, image.height)

    parts = eval_set.rectangles(batch, max(predictor.head.strides)) if rect else eval_set.squares(batch)
    with ThreadPoolExecutor(1) as beside:  # finds boxes in one batch, while the network computes the next
        before: Future[None] | None = None
        for part in parts:
            heads = predictor.predict(part.images)
            if before:
                before.result()
            before = beside.submit(place, part, heads)
        if before:
            before.result()
    return detections


def check(predictor: Predictor, eval_set: EvalSet, rect: bool = False) -> None:
    """Make sure that a predictor takes the images of a set, and knows its classes.

    Raises:
        ConfigError: they disagree about image size or classes, or rectangles cannot be had.
    """
    if rect and not getattr(predictor, "takes_any_shape", False):
        raise ConfigError(f"{predictor.backend} takes square images only: set evaluation.rect=false")
    if tuple(predictor.classes) != tuple(eval_set.classes):
        raise ConfigError(
            f"the model knows classes {list(predictor.classes)}, the data {list(eval_set.classes)}; "
            "evaluate a model on the data set it was trained for"
        )
    if len(eval_set) and eval_set.images.shape[1] != predictor.imgsz:
        raise ConfigError(
            f"images are {eval_set.images.shape[1]} px, the {predictor.backend} model takes {predictor.imgsz} px; "
            "load the evaluation set at the model's imgsz"
        )


def _per_class(
    truth: Sequence[Annotation],
    classes: Sequence[str],
    coco: CocoResult,
    voc: NDArray[np.float64],
    point: WorkingPoint,
) -> dict[str, dict[str, float]]:
    labels = np.concatenate([np.empty(0, np.int64), *(a.labels for a in truth)]).astype(np.int64)
    objects = np.bincount(labels, minlength=len(classes))
    return {
        name: {
            "ap50": float(np.nan_to_num(coco.ap50[i])),
            "ap50_95": float(np.nan_to_num(coco.ap[i])),
            "ap50_voc07": float(np.nan_to_num(voc[i])),
            "precision": float(point.class_precision[i]),
            "recall": float(point.class_recall[i]),
            "objects": float(objects[i]),
        }
        for i, name in enumerate(classes)
        if objects[i]
    }
