"""Names inside exported graphs that more than one file must know, and what they tell of our model."""

import re

BOXES_AND_SCORES = ["boxes", "scores"]
DETECTIONS = "detections"
NMS_SCORE, NMS_IOU, NMS_LIMIT = "nms_score", "nms_iou", "nms_limit"
"""Constants of the graph: the thresholds, and how many detections of a class."""


def layer_of(name: str) -> str:
    """The layer of our model that a node or tensor of its graph belongs to: `Conv:/model.4/cv1/conv/Conv` ->
    `model.4.cv1.conv`; what has no such name is given as it is.
    """
    path = name.rpartition(":")[2]
    parts = [part for part in path.split("/") if part]
    return ".".join(parts[:-1]) if path.startswith("/") and len(parts) > 1 else path


def unit_of(name: str) -> str:
    """Likewise, a convolution and its activation being one layer: `model.4.cv1`."""
    return re.sub(r"\.(conv|act)$", "", layer_of(name))
