"""OpenVINO on the CPU, and its own format (IR)."""

import logging
import sys
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
    import openvino

_PASSING = ("Concat", "MaxPool", "Interpolate")
"""Operations that OpenVINO computes in 8 bits where what they read has one scale."""


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    return OpenVinoPredictor(file, description(), threads, precision)


def _write(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.openvino import write_ir

    return write_ir(graph, folder)


def _write_fp16(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    from yoloslim.deploy.openvino import write_ir

    return write_ir(graph, folder, "fp16")


def _write_int8(graph: "onnx.ModelProto", images: Images, folder: Path) -> list[str]:
    return _write_chosen_int8(graph, images, {}, (), folder)


def _write_chosen_int8(
    graph: "onnx.ModelProto", images: Images, ranges: Ranges, fp32: Sequence[str], folder: Path
) -> list[str]:
    """NNCF's graph, which keeps in 8 bits what stands between convolutions, too, with the ranges of a training."""
    try:
        import nncf
    except ImportError as error:
        raise DeployError(f"NNCF is not installed ({error}); pip install 'yoloslim[runtimes]'") from error
    from yoloslim.deploy.graph import feeds, head_nodes
    from yoloslim.deploy.openvino import save_ir, to_ir

    # biases that were trained with these ranges need no correction
    trained = nncf.AdvancedQuantizationParameters(disable_bias_correction=True) if ranges else None

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
            advanced_parameters=trained,
        )
    _set_ranges(quantized, ranges)
    return save_ir(quantized, folder)


def _set_ranges(model: "openvino.Model", ranges: Ranges) -> None:
    """Let 8 bits cover these ranges, by tensor of the ONNX graph; NNCF's stay for what no convolution reads.

    What is handed on to a concatenation has the range of what that gives: its parts must have one scale to stay in 8
    bits.
    """
    import numpy as np
    from openvino import opset13

    for node in model.get_ops():
        if node.get_type_name() != "FakeQuantize" or node.input_value(0).get_node().get_type_name() == "Constant":
            continue
        covered = [ranges[name] for name in _read_as(node) if name in ranges]
        if not covered:
            continue
        low, high = max(covered, key=lambda pair: pair[1] - pair[0])
        scale = max(high - low, 1e-8) / 255
        zero = min(max(round(-low / scale), 0), 255)
        for i, limit in enumerate((-zero * scale, (255 - zero) * scale) * 2, start=1):
            shape = node.input_value(i).get_shape()
            node.input(i).replace_source_output(opset13.constant(np.full(shape, limit, np.float32)).output(0))


def _read_as(node: "openvino.Node") -> set[str]:
    """Names of what a node reads, and of what its result becomes by concatenation, pooling or resizing alone."""
    names, waiting = set(node.input_value(0).get_names()), [node.output(0)]
    while waiting:
        for reader in waiting.pop().get_target_inputs():
            after = reader.get_node()
            if after.get_type_name() in _PASSING:
                names |= after.output(0).get_names()
                waiting.append(after.output(0))
    return names


OPENVINO = Runtime(
    "openvino",
    (".onnx", ".xml"),
    _open,
    "openvino",
    _write,
    _write_int8,
    _write_chosen_int8,
    _write_fp16,
    precisions=("fp32", "bf16"),
)
