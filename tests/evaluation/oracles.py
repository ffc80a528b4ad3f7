"""Slow implementations whose correctness is plain to see, and random inputs for them."""

import contextlib
import io

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yoloslim.data.voc import Annotation, annotation_from


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return float(inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter))


def slow_nms(
    rows: NDArray[np.float32], conf: float, iou: float, max_det: int | None, multi_label: bool, objectness: float
) -> NDArray[np.float32]:
    """Greedy suppression, one candidate after the other."""
    candidates = []
    for row in rows:
        if not row[4] > objectness:
            continue
        scores = row[5:] * row[4]
        for label in range(len(scores)) if multi_label else [int(scores.argmax())]:
            if scores[label] > conf:
                candidates.append(np.array([*row[:4], scores[label], label], np.float32))
    candidates.sort(key=lambda c: -c[4])
    kept: list[NDArray[np.float32]] = []
    for candidate in candidates:
        if all(k[5] != candidate[5] or overlap(k, candidate) <= iou for k in kept):
            kept.append(candidate)
    return np.array(kept[:max_det], np.float32).reshape(-1, 6)


def pycoco(truth: list[Annotation], detections: list[NDArray[np.float32]], classes: int) -> NDArray[np.float64]:
    """The precision table (IoU, recall, class) of the reference implementation, all areas, 100 detections."""
    annotations, results = [], []
    for image, (annotation, found) in enumerate(zip(truth, detections, strict=True), 1):
        for box, label, hard in zip(annotation.boxes, annotation.labels, annotation.difficult, strict=True):
            x1, y1, x2, y2 = map(float, box)
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": int(label) + 1}
            entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(hard)}
            annotations.append(entry)
        for x1, y1, x2, y2, score, label in found.astype(float):
            entry = {"image_id": image, "category_id": int(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append(entry | {"score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1, "width": a.width, "height": a.height} for i, a in enumerate(truth)],
            "categories": [{"id": i + 1, "name": str(i)} for i in range(classes)],
            "annotations": annotations,
        }
        coco.createIndex()
        loaded = coco.loadRes(results) if results else _no_results(coco)
        evaluator = COCOeval(coco, loaded, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
    return np.asarray(evaluator.eval["precision"][:, :, :, 0, -1])


def _no_results(coco: COCO) -> COCO:
    empty = COCO()
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty


def random_boxes(rng: np.random.Generator, count: int, size: int = 100) -> NDArray[np.float32]:
    corner = rng.uniform(0, size * 0.7, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, size * 0.3, (count, 2))], 1).astype(np.float32)


def random_case(
    seed: int, images: int = 20, classes: int = 4, difficult: float = 0.2
) -> tuple[list[Annotation], list[NDArray[np.float32]]]:
    """Truth with difficult boxes and empty images, and detections of which many nearly fit."""
    rng = np.random.default_rng(seed)
    truth, detections = [], []
    for image in range(images):
        count = 0 if image % 5 == 0 else int(rng.integers(1, 6))
        boxes, labels = random_boxes(rng, count), rng.integers(0, classes, count)
        truth.append(annotation_from(100, 100, boxes, labels, rng.random(count) < difficult, np.zeros(count, bool)))
        near = np.repeat(boxes, 3, axis=0) + rng.normal(0, 3, (3 * count, 4)).astype(np.float32)
        near_labels = np.repeat(labels, 3)
        extra = int(rng.integers(0, 8)) if image % 7 else 0
        boxes = np.concatenate([near, random_boxes(rng, extra)])
        labels = np.concatenate([near_labels, rng.integers(0, classes, extra)])
        scores = rng.integers(1, 40, len(boxes)) / 40  # coarse, so that many are equal
        order = np.argsort(-scores, kind="stable")
        rows = np.concatenate([boxes, scores[:, None], labels[:, None]], axis=1)[order]
        detections.append(rows.astype(np.float32))
    return truth, detections
