"""Which classes are taken for which: the confusion matrix of a detector."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yoloslim.boxes import iou_matrix
from yoloslim.data.voc import Annotation


def confusion_matrix(
    truth: Sequence[Annotation],
    detections: Sequence[NDArray[np.float32]],
    classes: int,
    conf_thres: float = 0.25,
    iou_thres: float = 0.45,
) -> NDArray[np.int64]:
    """Count detections and objects by class, matched one to one by overlap alone.

    Pairs are taken by falling overlap, whatever their classes. Difficult objects that nobody found are not counted
    as missed, and what found them not as anything.

    Args:
        truth: objects of every image.
        detections: (n, 6) of every image: `xyxy` in image pixels, score, class.
        classes: number of classes.
        conf_thres: detections with a score up to this are left out, in [0, 1].
        iou_thres: a pair needs more overlap than this, in [0, 1].

    Returns:
        (classes + 1, classes + 1): rows are detected classes, columns true ones. The last row counts objects that
        were missed, the last column detections of nothing.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for annotation, rows in zip(truth, detections, strict=True):
        found = rows[rows[:, 4] > conf_thres]
        predicted = found[:, 5].astype(np.int64)
        detected, objects = _pairs(annotation.boxes, found[:, :4], iou_thres)
        plain = ~annotation.difficult[objects]
        np.add.at(matrix, (predicted[detected][plain], annotation.labels[objects][plain]), 1)
        missed = np.setdiff1d(np.flatnonzero(~annotation.difficult), objects)
        matrix[classes, :classes] += np.bincount(annotation.labels[missed], minlength=classes)
        nothing = np.setdiff1d(np.arange(len(found)), detected)
        matrix[:classes, classes] += np.bincount(predicted[nothing], minlength=classes)
    return matrix


def _pairs(
    objects: NDArray[np.float32], found: NDArray[np.float32], iou_thres: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of matched detections and objects, greedily by falling overlap."""
    iou = iou_matrix(found, objects)
    pairs: list[tuple[int, int]] = []
    candidates = np.argwhere(iou > iou_thres)
    order = np.argsort(-iou[candidates[:, 0], candidates[:, 1]], kind="stable")
    free_found, free_objects = set(range(len(found))), set(range(len(objects)))
    for detection, item in candidates[order].tolist():
        if detection in free_found and item in free_objects:
            free_found.remove(detection)
            free_objects.remove(item)
            pairs.append((detection, item))
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
