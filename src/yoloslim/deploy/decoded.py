"""Decoding and suppression inside the graph, for users of plain ONNX Runtime who want boxes, not logits."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from yoloslim.deploy.names import DETECTIONS, NMS_IOU, NMS_LIMIT, NMS_SCORE
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.models.detector import Detector
from yoloslim.models.spec import ModelSpec


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


def best_count(spec: ModelSpec, limit: int | None) -> int:
    """How many detections `append_best` gives: the limit, or one a cell where that is less."""
    cells = sum(height * width for _, height, width in spec.head.outputs(spec.nc, spec.imgsz).values())
    return min(limit or cells, cells)


def append_best(graph: ModelProto, classes: int, count: int) -> None:
    """Put the choice of the best pairs of a cell and a class behind boxes and scores, in place.

    The only output is then `detections` (B, count, 6): `xyxy` in canvas pixels, score, class; best first. There is
    no threshold: the score says how far to read. All operators exist at opset 11, and take the batch from the input.
    """
    constants = {
        "best_flat": np.array([0, -1], np.int64),
        "best_count": np.array([count], np.int64),
        "best_classes": np.array([classes], np.int64),
        "best_column": np.array([0, -1, 1], np.int64),
        "best_four": np.array([1, 1, 4], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Reshape", ["scores", "best_flat"], ["best_pairs"], "best_pairs"),
        node("TopK", ["best_pairs", "best_count"], ["best_scores", "best_places"], "best"),
        node("Div", ["best_places", "best_classes"], ["best_cells"], "best_cells"),
        node("Mod", ["best_places", "best_classes"], ["best_labels"], "best_labels"),
        node("Reshape", ["best_cells", "best_column"], ["best_cell_column"], "best_cell_column"),
        node("Expand", ["best_cell_column", "best_four"], ["best_cell_columns"], "best_cell_columns"),
        node("GatherElements", ["boxes", "best_cell_columns"], ["best_boxes"], "best_boxes", axis=1),
        node("Reshape", ["best_scores", "best_column"], ["best_score_column"], "best_score_column"),
        node("Cast", ["best_labels"], ["best_numbers"], "best_numbers", to=TensorProto.FLOAT),
        node("Reshape", ["best_numbers", "best_column"], ["best_number_column"], "best_number_column"),
        node("Concat", ["best_boxes", "best_score_column", "best_number_column"], [DETECTIONS], DETECTIONS, axis=2),
    ]
    batch = graph.graph.input[0].type.tensor_type.shape.dim[0]
    graph.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.graph.node.extend(nodes)
    del graph.graph.output[:]
    shape = (batch.dim_param or batch.dim_value, count, 6)
    graph.graph.output.append(helper.make_tensor_value_info(DETECTIONS, TensorProto.FLOAT, shape))
