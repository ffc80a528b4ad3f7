"""Our exports that give boxes or detections, described so that they can be run like those with raw heads."""

from pathlib import Path

from onnx import ModelProto, numpy_helper

from yoloslim.boxes import FILL, Align
from yoloslim.choices import Outputs
from yoloslim.deploy.describe import Description, read_onnx
from yoloslim.deploy.names import BOXES_AND_SCORES, DETECTIONS, NMS_IOU, NMS_LIMIT, NMS_SCORE
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import GraphDescription
from yoloslim.heads.boxes import BoxesHead


def describe_inside(file: Path, graph: GraphDescription, outputs: Outputs) -> Description:
    """A graph with other outputs than raw ones.

    Args:
        file: it.
        graph: its manifest, or what it says about itself.
        outputs: what it gives.

    Raises:
        DeployError: the file cannot be read, or its thresholds are not where an export puts them.
    """
    count = len(graph.classes)
    if outputs == "decoded":
        head = BoxesHead(form="pair", classes=count, once=not graph.head.needs_nms)
    elif outputs == "end2end":
        rule = "the best pairs of a cell and a class, of a head that finds each object once"
        head = BoxesHead(form="final", classes=count, rule=rule)
    else:
        least, iou, limit = _thresholds(file, read_onnx(file))
        rule = f"NMS at an overlap of {iou:g} among scores above {least:g}"
        if limit < 2**31 - 1:
            rule += f", at most {limit} of a class"
        head = BoxesHead(form="final", classes=count, rule=rule, least=least)
    names = tuple(BOXES_AND_SCORES) if outputs == "decoded" else (DETECTIONS,)
    align: Align = getattr(graph, "letterbox_align", "center")
    fill: int = getattr(graph, "letterbox_fill", FILL)
    return Description(
        graph.input_name, names, head, tuple(graph.classes), graph.imgsz, align, fill, graph.precision, outputs
    )


def _thresholds(file: Path, graph: ModelProto) -> tuple[float, float, int]:
    values = {constant.name: constant for constant in graph.graph.initializer}
    try:
        score, iou, limit = (numpy_helper.to_array(values[name]).item() for name in (NMS_SCORE, NMS_IOU, NMS_LIMIT))
    except (KeyError, ValueError) as error:
        raise DeployError(f"{file}: its thresholds are not where an export puts them; export it again") from error
    return round(float(score), 6), round(float(iou), 6), int(limit)
