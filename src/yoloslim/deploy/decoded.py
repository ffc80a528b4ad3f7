"""Decoding and suppression inside the graph, for users of plain ONNX Runtime who want boxes, not logits."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from yoloslim.evaluation.nms import NmsOptions
from yoloslim.models.detector import Detector

BOXES_AND_SCORES = ["boxes", "scores"]
DETECTIONS = "detections"
NMS_SCORE, NMS_IOU, NMS_LIMIT = "nms_score", "nms_iou", "nms_limit"
"""Constants of the graph: the thresholds, and how many detections of a class."""


class DecodedDetector(nn.Module):
    """A Detector that gives boxes (B, n, 4), `xyxy` in canvas pixels, and scores (B, n, classes), see `Head.decode`."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Decode every cell of images (B, 3, S, S) in [0, 1]."""
        spec = self.model.spec
        return spec.head.decode(self.model(images), spec.nc, spec.imgsz)


def append_nms(graph: ModelProto, options: NmsOptions) -> None:
    """Put ONNX's NonMaxSuppression behind boxes and scores, in place.

    The only output is then `detections` (m, 7): number of the image, `xyxy` in canvas pixels, score, class; by
    image, then class, then falling score. `max_det` limits a class of an image, the only limit that ONNX has.
    """
    constants = {
        NMS_LIMIT: np.array([options.max_det or np.iinfo(np.int32).max], np.int64),
        NMS_IOU: np.array([options.iou_thres], np.float32),
        NMS_SCORE: np.array([options.conf_thres], np.float32),
        "nms_box": np.array([0, 2], np.int64),
        "nms_label": np.array([1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Transpose", ["scores"], ["nms_by_class"], "nms_by_class", perm=[0, 2, 1]),
        node(
            "NonMaxSuppression",  # corners may come as (x, y) or (y, x): overlap is the same
            ["boxes", "nms_by_class", NMS_LIMIT, NMS_IOU, NMS_SCORE],
            ["nms_chosen"],
            "nms",
        ),
        node("Gather", ["nms_chosen", "nms_box"], ["nms_where_box"], "nms_where_box", axis=1),
        node("GatherND", ["boxes", "nms_where_box"], ["nms_boxes"], "nms_boxes"),
        node("GatherND", ["nms_by_class", "nms_chosen"], ["nms_scores"], "nms_scores"),
        node("Cast", ["nms_chosen"], ["nms_numbers"], "nms_numbers", to=TensorProto.FLOAT),
        node("Gather", ["nms_numbers", "nms_first"], ["nms_image"], "nms_image", axis=1),
        node("Gather", ["nms_numbers", "nms_label"], ["nms_class"], "nms_class", axis=1),
        node("Reshape", ["nms_scores", "nms_column"], ["nms_score_column"], "nms_score_column"),
        node("Concat", ["nms_image", "nms_boxes", "nms_score_column", "nms_class"], [DETECTIONS], DETECTIONS, axis=1),
    ]
    constants |= {"nms_first": np.array([0], np.int64), "nms_column": np.array([-1, 1], np.int64)}
    graph.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.graph.node.extend(nodes)
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info(DETECTIONS, TensorProto.FLOAT, ("detections", 7)))
