"""Average precision by COCO and VOC2007 rules, and precision and recall at the best working point.

COCO rules run in hotcoco; the tests compare it with pycocotools. A difficult object is COCO's "crowd" there:
finding it is no error, missing it neither. Without any object to find, every metric is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hotcoco import COCO, COCOeval
from numpy.typing import NDArray

from yoloslim.data.voc import Annotation
from yoloslim.evaluation.matching import Doubles, Matches, flatten_detections, flatten_truth

CONFIDENCES = np.linspace(0, 1, 1001)
"""Where precision and recall are read off against confidence."""


@dataclass(frozen=True)
class CocoResult:
    """Metrics by COCO rules (all areas, best 100 detections of a class in an image).

    Attributes:
        map50: mean over classes of AP at IoU 0.5, in [0, 1].
        map50_95: the same, averaged over IoU 0.50, 0.55 ... 0.95.
        ap50: AP at IoU 0.5 per class (classes,), NaN where a class has no object.
        ap: AP over all IoU per class (classes,), NaN likewise.
        precision: interpolated precision at IoU 0.5 (classes, 101) at recall 0, 0.01 ... 1, NaN likewise.
    """

    map50: float
    map50_95: float
    ap50: Doubles
    ap: Doubles
    precision: Doubles


@dataclass(frozen=True)
class WorkingPoint:
    """Precision and recall against confidence at IoU 0.5, and where mean F1 is best.

    Attributes:
        confidence: the threshold with the largest F1 averaged over classes, in [0, 1].
        precision: mean over classes at that threshold, in [0, 1].
        recall: likewise.
        class_precision: (classes,) at that threshold; 0 for a class without objects.
        class_recall: likewise.
        precision_curve: (classes, 1001) against `CONFIDENCES`.
        recall_curve: (classes, 1001) likewise.
    """

    confidence: float
    precision: float
    recall: float
    class_precision: Doubles
    class_recall: Doubles
    precision_curve: Doubles
    recall_curve: Doubles


def mean_known(values: Doubles) -> float:
    """Mean of the values that are there, 0 when none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def coco_metrics(
    truth: Sequence[Annotation], detections: Sequence[NDArray[np.float32]], classes: Sequence[str]
) -> CocoResult:
    """Average precision by COCO rules.

    Args:
        truth: objects of every image.
        detections: (n, 6) of every image in the same order: `xyxy` in image pixels, score, class.
        classes: names, one a class.
    """
    objects, found = flatten_truth(truth), flatten_detections(detections)
    images = [{"id": i + 1, "width": a.width, "height": a.height} for i, a in enumerate(truth)]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    boxes = _xywh(objects.boxes)
    dataset = COCO.from_arrays(
        images,
        categories,
        objects.image + 1,
        objects.label + 1,
        boxes,
        area=boxes[:, 2] * boxes[:, 3],
        iscrowd=objects.difficult.astype(np.int64),
    )
    columns = [found.image[:, None] + 1, _xywh(found.boxes), found.score[:, None], found.label[:, None] + 1]
    evaluator = COCOeval(dataset, dataset.load_res(np.concatenate(columns, axis=1)), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    assert evaluator.eval is not None
    table = evaluator.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class)
    known = (table > -1).all(axis=(0, 1))
    table = np.where(known, table, np.nan)
    ap50, ap = table[0].mean(axis=0), table.mean(axis=(0, 1))
    return CocoResult(mean_known(ap50), mean_known(ap), ap50, ap, table[0].T)


def voc07_ap50(matches: Matches, classes: int) -> Doubles:
    """AP per class (classes,) by the VOC2007 devkit: 11 recall points, IoU at least 0.5; NaN without objects.

    Boxes are continuous here, so the devkit's "+1" on inclusive pixel coordinates is already in them.
    """
    result = np.full(classes, np.nan)
    for label in range(classes):
        if total := matches.objects(label):
            result[label] = _eleven_points(matches.of(label)[0], total)
    return result


def working_point(matches: Matches, classes: int) -> WorkingPoint:
    """Precision and recall as YOLO trainers report them: at the confidence that maximises mean F1, IoU 0.5.

    Only classes with objects take part in the means. Where a class has no detection above a confidence its
    precision is 1 by convention.
    """
    precision, recall = np.zeros((2, classes, len(CONFIDENCES)))
    known = np.zeros(classes, np.bool_)
    for label in range(classes):
        if total := matches.objects(label):
            precision[label], recall[label] = _curves(*matches.of(label), total)
            known[label] = True
    if not known.any():
        zeros = np.zeros(classes)
        return WorkingPoint(0.0, 0.0, 0.0, zeros, zeros, precision, recall)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1[known].mean(axis=0).argmax())
    at_precision, at_recall = precision[:, best], recall[:, best]
    return WorkingPoint(
        float(CONFIDENCES[best]),
        float(at_precision[known].mean()),
        float(at_recall[known].mean()),
        at_precision,
        at_recall,
        precision,
        recall,
    )


def _curves(right: NDArray[np.bool_], score: Doubles, total: int) -> tuple[Doubles, Doubles]:
    """Precision and recall of detections, sorted by falling score, that reach each of `CONFIDENCES`."""
    found = np.searchsorted(-score, -CONFIDENCES, "right")
    hits = np.concatenate([[0], np.cumsum(right)])[found]
    return np.where(found > 0, hits / np.maximum(found, 1), 1.0), hits / total


def _eleven_points(right: NDArray[np.bool_], total: int) -> float:
    """Mean over recall 0, 0.1 ... 1 of the best precision at that recall or more.

    Recall is compared in whole numbers, 10 hits >= k total: 3 of 10 objects reach recall 0.3 exactly.
    """
    if not len(right):
        return 0.0
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    return sum(float(precision[10 * hits >= k * total].max(initial=0)) for k in range(11)) / 11


def _xywh(boxes: Doubles) -> Doubles:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
