"""Raw heads to detections in plain numpy: the same rules as the library's, for where there is no OpenCV.

For a cell (column, row) of a level with its stride and scale k, an anchor (w, h) and logits t, with s the logistic
function: centre = (k s(t_xy) - (k - 1) / 2 + cell) * stride, size = (2 s(t_wh))^2 * anchor (kind yolov5) or
exp(t_wh) * anchor (kind darknet), score = s(t_obj) * s(t_class).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

DEFAULTS = {"conf_thres": 0.001, "iou_thres": 0.6, "max_det": 300, "multi_label": True, "objectness_thres": 0.0}
"""How candidates become detections; the meaning is that of `evaluation.nms.NmsOptions`."""


def by_level(heads: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Heads (B, anchors, H, W, 5 + classes), finest level first: compilers may reorder outputs."""
    return sorted(heads, key=lambda head: -head.shape[2])


def find(
    heads: Sequence[np.ndarray],
    anchors: Sequence[Sequence[Sequence[float]]],
    strides: Sequence[int],
    decoding: dict[str, Any],
    options: dict[str, Any],
) -> np.ndarray:
    """Detections (n, 6) of the heads of one image: `xyxy` in canvas pixels, score, class; best first.

    Args:
        heads: one (1, anchors, H, W, 5 + classes) a level, in any order.
        anchors: (level, anchor, 2) in canvas pixels, finest level first.
        strides: canvas pixels per cell, by level.
        decoding: `kind` of boxes and `scale_x_y` by level.
        options: see `DEFAULTS`.
    """
    objectness = max(options["conf_thres"], options["objectness_thres"])
    levels = zip(by_level(heads), anchors, strides, decoding["scale_x_y"])
    kind = decoding["kind"]
    rows = np.concatenate(
        [
            _decode(head[0], np.array(sizes, np.float32), stride, kind, scale, objectness)
            for head, sizes, stride, scale in levels
        ]
    )
    scores = rows[:, 5:] * rows[:, 4:5]
    if options["multi_label"]:
        cells, labels = np.nonzero(scores > options["conf_thres"])
    else:
        labels = scores.argmax(axis=1)
        cells = np.flatnonzero(scores[np.arange(len(scores)), labels] > options["conf_thres"])
        labels = labels[cells]
    chosen = scores[cells, labels]
    order = np.argsort(-chosen, kind="stable")
    boxes, labels, chosen = rows[cells[order], :4], labels[order], chosen[order]
    keep = _suppress(boxes, labels, options["iou_thres"], options["max_det"])
    columns = [boxes[keep], chosen[keep, None], labels[keep, None].astype(np.float32)]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _decode(
    head: np.ndarray, anchors: np.ndarray, stride: int, kind: str, scale: float, objectness: float
) -> np.ndarray:
    """Rows (n, 5 + classes) of the cells whose objectness exceeds a threshold."""
    _, height, width, channels = head.shape
    logits = head.reshape(-1, channels)
    with np.errstate(over="ignore"):  # exp is infinite for very negative logits, and its reciprocal the right 0
        cells = np.flatnonzero(1 / (1 + np.exp(-logits[:, 4])) > objectness)
        rows = 1 / (1 + np.exp(-logits[cells]))
    anchor, position = np.divmod(cells, height * width)
    row, column = np.divmod(position, width)
    corner = np.stack([column, row], 1).astype(np.float32) - np.float32((scale - 1) / 2)
    centre = (rows[:, :2] * np.float32(scale) + corner) * np.float32(stride)
    limited = np.minimum(logits[cells, 2:4], np.float32(10))  # exp(10) anchors are more than any image
    factor = (rows[:, 2:4] * 2) ** 2 if kind == "yolov5" else np.exp(limited)
    half = factor * (anchors[anchor] / 2)
    return np.concatenate([centre - half, centre + half, rows[:, 4:]], axis=1)


def _suppress(boxes: np.ndarray, labels: np.ndarray, iou_thres: float, max_det: int | None) -> np.ndarray:
    """Positions that survive greedy suppression per class; the input is sorted by falling score."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive, keep = np.ones(len(boxes), np.bool_), []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        keep.append(i)
        if len(keep) == max_det:
            break
        rest = i + 1 + np.flatnonzero(alive[i + 1 :] & (labels[i + 1 :] == labels[i]))
        size = np.minimum(boxes[i, 2:], boxes[rest, 2:]) - np.maximum(boxes[i, :2], boxes[rest, :2])
        overlap = np.maximum(size, 0).prod(axis=1)
        alive[rest[overlap > iou_thres * (area[i] + area[rest] - overlap)]] = False
    return np.array(keep, np.intp)
