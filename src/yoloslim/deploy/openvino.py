"""OpenVINO's own format: `model.xml` and `model.bin`, at fp32."""

from pathlib import Path
from typing import Any

import onnx

from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor.openvino import openvino_core


def to_ir(graph: onnx.ModelProto) -> Any:
    """An ONNX graph as an `openvino.Model`.

    Raises:
        DeployError: OpenVINO is not installed, or cannot read the graph.
    """
    core = openvino_core()
    try:
        return core.read_model(graph.SerializeToString(), b"")
    except RuntimeError as error:
        raise DeployError(f"OpenVINO cannot convert the graph: {str(error).strip()}") from error


def save_ir(model: Any, folder: Path) -> list[str]:
    """Write an `openvino.Model` without rounding its weights to fp16, as OpenVINO does by default."""
    import openvino

    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return ["model.xml", "model.bin"]


def write_ir(graph: onnx.ModelProto, folder: Path) -> list[str]:
    """Convert an ONNX graph into `folder`; see `to_ir`."""
    return save_ir(to_ir(graph), folder)
