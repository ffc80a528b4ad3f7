"""ONNX Runtime runs the exported graph itself, on the CPU."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from yoloslim.choices import Precision
from yoloslim.deploy.runtimes.base import Ranges, Runtime
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor import OnnxPredictor
from yoloslim.evaluation.predictor.base import GraphDescription, Images, Predictor
from yoloslim.quiet import quiet

if TYPE_CHECKING:
    import onnx

_OPSET = 13
"""The first whose QuantizeLinear knows a scale for each channel; later ones stay, onnx cannot convert them back."""


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    return OnnxPredictor(file, description(), threads)


def write_onnx(graph: "onnx.ModelProto", folder: Path) -> list[str]:
    """Write `model.onnx`; the same graph gives the same bytes."""
    (folder / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    return ["model.onnx"]


def _write_int8(graph: "onnx.ModelProto", images: Images, folder: Path) -> list[str]:
    """QuantizeLinear and DequantizeLinear around everything, which ONNX Runtime fuses into integer kernels."""
    return write_qdq(graph, images, {}, (), folder)


def write_qdq(
    graph: "onnx.ModelProto",
    images: Images,
    ranges: Ranges,
    fp32: Sequence[str],
    folder: Path,
    operators: Sequence[str] | None = None,
) -> list[str]:
    """Write `model.onnx` with QuantizeLinear and DequantizeLinear around operators, all that can be by default.

    `ranges` are those of a training; without, what SiLU reads has the range of `ranges_before_silu`. All other
    activations are calibrated on images uint8 (N, S, S, 3), from the least to the largest value. Outputs stay fp32, as
    do the nodes that `fp32` names.
    """
    from onnxruntime.quantization import QuantType

    from yoloslim.deploy.before_silu import ranges_before_silu

    ranges = ranges or ranges_before_silu(graph, images)
    unsigned = QuantType.QUInt8  # with int8 weights: what x86 multiplies in one instruction
    return _quantized(graph, images, ranges, fp32, folder, activation_type=unsigned, op_types_to_quantize=operators)


def write_symmetric_qdq(
    graph: "onnx.ModelProto", images: Images, ranges: Ranges, fp32: Sequence[str], folder: Path
) -> list[str]:
    """Likewise as TensorRT wants it: int8 without zero points, around what convolutions read, and biases in fp32."""
    from onnxruntime.quantization import QuantType

    options = {
        "ActivationSymmetric": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": ["Conv"],  # SiLU is fused into the convolution before it
    }
    only = ["Conv"]
    return _quantized(
        graph, images, ranges, fp32, folder, options, activation_type=QuantType.QInt8, op_types_to_quantize=only
    )


def _quantized(
    graph: "onnx.ModelProto",
    images: Images,
    ranges: Ranges,
    fp32: Sequence[str],
    folder: Path,
    options: Mapping[str, Any] = MappingProxyType({}),
    **others: Any,
) -> list[str]:
    """What both write; `options` and `others` are those of ONNX Runtime's `quantize_static`."""
    import onnx
    from onnx import version_converter
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    from yoloslim.deploy.graph import feeds, head_nodes, opset_of

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = feeds(graph, images)

        def get_next(self) -> dict[str, Floats] | None:
            return next(self._batches, None)

    overrides = {name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()}
    source = folder / "fp32.onnx"
    if opset_of(graph) < _OPSET:
        graph = version_converter.convert_version(graph, _OPSET)
    onnx.save(graph, source)
    with quiet():  # it advises shape inference, which the exporter has done
        quantize_static(
            str(source),
            str(folder / "model.onnx"),
            Reader(),
            quant_format=QuantFormat.QDQ,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=[*(node.name for node in head_nodes(graph)), *fp32],
            extra_options={"TensorQuantOverrides": overrides, **options},
            **others,
        )
    source.unlink()
    return ["model.onnx"]


ONNXRUNTIME = Runtime("onnxruntime", (".onnx",), _open, "onnx", write_onnx, _write_int8, write_qdq)
