"""OpenVINO on the CPU, and its own format (IR)."""

import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from yoloslim.choices import Precision
from yoloslim.deploy.runtimes.base import Ranges, Runtime
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import OpenVinoPredictor
from yoloslim.evaluation.predictor.base import GraphDescription, Images, Predictor

if TYPE_CHECKING:
    import onnx


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    return OpenVinoPredictor(file, description(), threads, precision)


def _write(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.openvino import write_ir

    return write_ir(graph, folder)


def _write_int8(graph: "onnx.ModelProto", images: Images, folder: Path) -> list[str]:
    return _calibrated(graph, images, (), folder)


def _calibrated(graph: "onnx.ModelProto", images: Images, fp32: Sequence[str], folder: Path) -> list[str]:
    try:
        import nncf
    except ImportError as error:
        raise DeployError(f"NNCF is not installed ({error}); pip install 'yoloslim[runtimes]'") from error
    from yoloslim.deploy.graph import feeds, head_nodes
    from yoloslim.deploy.openvino import save_ir, to_ir

    # a convolution with a bias becomes two operations, of which the second keeps its name
    names = [*(node.name for node in head_nodes(graph)), *fp32]
    kept = [each for name in names for each in (name, f"{name}/WithoutBiases")]
    nncf.set_log_level(logging.ERROR)  # it tells of every node that it leaves alone
    with redirect_stdout(sys.stderr):  # where progress belongs
        quantized = nncf.quantize(
            to_ir(graph),
            nncf.Dataset(list(feeds(graph, images))),
            preset=nncf.QuantizationPreset.MIXED,  # asymmetric activations, as SiLU's are
            subset_size=len(images),
            # SiLU in fp32 is fused into the convolution before it; quantised by itself it is a pass over memory
            ignored_scope=nncf.IgnoredScope(names=kept, types=["Sigmoid", "Multiply"], validate=False),
        )
    return save_ir(quantized, folder)


def _write_chosen_int8(
    graph: "onnx.ModelProto", images: Images, ranges: Ranges, fp32: Sequence[str], folder: Path
) -> list[str]:
    """With ranges, convert a graph in which what convolutions read is in 8 bits, and nothing else.

    OpenVINO fuses a convolution and its SiLU; a rounding between the two costs a fifth of the speed.
    """
    if not ranges:
        return _calibrated(graph, images, fp32, folder)
    import onnx

    from yoloslim.deploy.openvino import write_ir
    from yoloslim.deploy.runtimes.onnxruntime import write_qdq

    with tempfile.TemporaryDirectory() as temporary:
        (name,) = write_qdq(graph, images, ranges, fp32, Path(temporary), ["Conv"], ["Conv"])
        return write_ir(onnx.load(Path(temporary) / name), folder)


OPENVINO = Runtime(
    "openvino",
    (".onnx", ".xml"),
    _open,
    "openvino",
    _write,
    _write_int8,
    _write_chosen_int8,
    precisions=("fp32", "bf16"),
)
