"""OpenVINO's own format: `model.xml` and `model.bin`."""

from pathlib import Path
from typing import Any

import onnx

from yoloslim.choices import Weights
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


def save_ir(model: Any, folder: Path, weights: Weights = "fp32") -> list[str]:
    """Write an `openvino.Model`, its weights rounded to fp16 only if asked for, where OpenVINO does it by default."""
    import openvino

    openvino.save_model(model, folder / "model.xml", compress_to_fp16=weights == "fp16")
    return ["model.xml", "model.bin"]


def write_ir(graph: onnx.ModelProto, folder: Path, weights: Weights = "fp32") -> list[str]:
    """Convert an ONNX graph into `folder`; see `to_ir` and `save_ir`."""
    return save_ir(to_ir(graph), folder, weights)
