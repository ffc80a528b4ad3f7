"""ncnn on the CPU, and its own format, at fp32, with weights in fp16, and at int8."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from yoloslim.choices import Precision
from yoloslim.deploy.runtimes.base import Runtime
from yoloslim.evaluation.predictor import NcnnPredictor
from yoloslim.evaluation.predictor.base import GraphDescription, Images, Predictor

if TYPE_CHECKING:
    import onnx


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    return NcnnPredictor(file, description(), threads)


def _write(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.ncnn import write_ncnn

    return write_ncnn(graph, folder)


def _write_fp16(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.ncnn import write_ncnn

    return write_ncnn(graph, folder, "fp16")


def _write_int8(graph: "onnx.ModelProto", images: Images, folder: Path) -> list[str]:
    from yoloslim.deploy.graph import feeds, head_nodes
    from yoloslim.deploy.ncnn_int8 import quantize_ncnn

    with tempfile.TemporaryDirectory() as source:
        _write(graph, Path(source))
        inputs = (next(iter(feed.values())) for feed in feeds(graph, images))
        return quantize_ncnn(
            Path(source), folder, inputs, keep_fp32=sum(node.op_type == "Conv" for node in head_nodes(graph))
        )


NCNN = Runtime("ncnn", (".param",), _open, "ncnn", _write, _write_int8, write_fp16=_write_fp16, one_image=True)
