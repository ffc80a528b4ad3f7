"""TensorRT on an NVIDIA GPU, and its engines, at fp32, fp16 and int8."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yoloslim.choices import Precision
from yoloslim.deploy.runtimes.base import Ranges, Runtime
from yoloslim.deploy.runtimes.onnxruntime import write_symmetric_qdq
from yoloslim.evaluation.predictor.base import GraphDescription, Images, Predictor
from yoloslim.evaluation.predictor.tensorrt import TensorRtPredictor

if TYPE_CHECKING:
    import onnx


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    return TensorRtPredictor(file, description(), threads)


def _write(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.tensorrt import write_engine

    return write_engine(graph, folder)


def _write_fp16(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.tensorrt import write_engine_fp16

    return write_engine_fp16(graph, folder)


def _write_int8(graph: "onnx.ModelProto", images: Images, folder: Path) -> list[str]:
    return _write_chosen_int8(graph, images, {}, (), folder)


def _write_chosen_int8(
    graph: "onnx.ModelProto", images: Images, ranges: Ranges, fp32: Sequence[str], folder: Path
) -> list[str]:
    import onnx

    from yoloslim.deploy.tensorrt import write_engine
    from yoloslim.evaluation.predictor.tensorrt import tensorrt

    tensorrt()  # missing, it is told before the calibration
    with tempfile.TemporaryDirectory() as temporary:
        (name,) = write_symmetric_qdq(graph, images, ranges, fp32, Path(temporary))
        return write_engine(onnx.load(Path(temporary) / name), folder)


TENSORRT = Runtime(
    "tensorrt",
    (".engine",),
    _open,
    "tensorrt",
    _write,
    _write_int8,
    _write_chosen_int8,
    write_fp16=_write_fp16,
    open_int8=True,
)
