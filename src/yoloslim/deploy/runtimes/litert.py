"""LiteRT (once TensorFlow Lite) with XNNPACK on the CPU, and its own format, at fp32, fp16 and int8."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from yoloslim.choices import Precision
from yoloslim.deploy.runtimes.base import Runtime
from yoloslim.evaluation.predictor import LiteRtPredictor
from yoloslim.evaluation.predictor.base import GraphDescription, Images, Predictor

if TYPE_CHECKING:
    import onnx


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    return LiteRtPredictor(file, description(), threads)


def _write(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.litert import write_litert

    return write_litert(graph, folder)


def _write_fp16(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.litert import write_litert_fp16

    return write_litert_fp16(graph, folder)


def _write_int8(graph: "onnx.ModelProto", images: Images, folder: Path) -> list[str]:
    from yoloslim.deploy.litert import write_litert_int8

    return write_litert_int8(graph, images, folder)


LITERT = Runtime("litert", (".tflite",), _open, "litert", _write, _write_int8, write_fp16=_write_fp16, one_image=True)
