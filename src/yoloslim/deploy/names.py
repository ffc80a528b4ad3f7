"""Names inside exported graphs that more than one file must know."""

BOXES_AND_SCORES = ["boxes", "scores"]
DETECTIONS = "detections"
NMS_SCORE, NMS_IOU, NMS_LIMIT = "nms_score", "nms_iou", "nms_limit"
"""Constants of the graph: the thresholds, and how many detections of a class."""
