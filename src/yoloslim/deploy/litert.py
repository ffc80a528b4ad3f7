"""LiteRT's format, `model.tflite`: fp32 by onnx2tf in the toolchain `litert`, fp16 and int8 by Google's quantiser.

The graph inside is NHWC, as LiteRT's kernels want it; its input keeps ONNX's layout (NCHW), names and order stay.
Outputs of five sides keep their layout, those of four come as (1, H, W, C).
"""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx

from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.quiet import quiet, silent

MODEL = "model.tflite"
_PASS_ON = ("TRANSPOSE", "RESHAPE", "CONCATENATION")
"""Between the last convolutions and the outputs."""


def write_litert(graph: onnx.ModelProto, folder: Path) -> list[str]:
    """Convert an ONNX graph with one input and a fixed size into `folder`, at fp32.

    Raises:
        DeployError: the toolchain is not installed, or refused.
    """
    from yoloslim.toolchains import TOOLCHAINS, Session

    with tempfile.TemporaryDirectory() as temporary, Session(TOOLCHAINS["litert"]) as session:
        source = Path(temporary) / "model.onnx"
        source.write_bytes(graph.SerializeToString())
        session.ask("convert", source=str(source), target=str((folder / MODEL).absolute()))
    return [MODEL]


def write_litert_fp16(graph: onnx.ModelProto, folder: Path) -> list[str]:
    """Likewise with weights rounded to fp16; what they are computed in is the device's choice (XNNPACK on x86: fp32).

    Raises:
        DeployError: a package or the toolchain is not installed, or refused.
    """
    quantizer = _quantizer(write_litert(graph, folder), folder)
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName

    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(weight_tensor_config=weights, explicit_dequantize=True)
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    quantizer.update_quantization_recipe(".*", everything, config, AlgorithmName.FLOAT_CASTING)
    return _save(quantizer, None, folder)


def write_litert_int8(graph: onnx.ModelProto, inputs: Iterable[dict[str, Floats]], folder: Path) -> list[str]:
    """Likewise in int8, weights by channel and activations by tensor; input, outputs and last convolutions stay fp32.

    Args:
        graph: of one image a call.
        inputs: what it is fed, an image each, to take the ranges of activations from.
        folder: where to.

    Raises:
        DeployError: a package or the toolchain is not installed, or refused.
    """
    quantizer = _quantizer(write_litert(graph, folder), folder)
    from litert_quantizer import qtyping
    from litert_quantizer.algorithm_manager import AlgorithmName

    names = qtyping.TFLOperationName
    quantizer.add_static_config(".*", names.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    of_heads = "^(" + "|".join(re.escape(name) for name in _head_tensors(folder / MODEL)) + ");?$"
    # the value that PADV2 fills in is a constant of no axes, which the quantiser cannot scale
    kept = [(of_heads, names.ALL_SUPPORTED), *((".*", name) for name in (names.INPUT, names.OUTPUT, names.PADV2))]
    for scope, operation in kept:
        quantizer.update_quantization_recipe(scope, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
    with quiet(), silent():  # a bar for every operator, and warnings about memory
        (signature,) = _signatures(folder / MODEL)
        ranges = quantizer.calibrate({signature: list(inputs)}, num_threads=1)
    return _save(quantizer, ranges, folder)


def _quantizer(names: list[str], folder: Path) -> Any:
    try:
        from litert_quantizer.quantizer import Quantizer
    except ImportError as error:
        raise DeployError(f"LiteRT's quantiser is not installed ({error}); pip install 'yoloslim[litert]'") from error
    return Quantizer((folder / names[0]).read_bytes())


def _save(quantizer: Any, ranges: Any, folder: Path) -> list[str]:
    with quiet(), silent():
        result = quantizer.quantize(ranges, enable_progress_report=False)
    (folder / MODEL).write_bytes(result.quantized_model)
    return [MODEL]


def _signatures(file: Path) -> list[str]:
    from ai_edge_litert.interpreter import Interpreter

    return list(Interpreter(str(file)).get_signature_list())


def _head_tensors(file: Path) -> list[str]:
    """Names of what the last convolutions give, and all behind them."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes()))
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    passing = {getattr(schema.BuiltinOperator, name) for name in _PASS_ON}
    (graph,) = model.subgraphs
    makers = {int(output): op for op in graph.operators for output in op.outputs}
    waiting, found = [int(output) for output in graph.outputs], []
    while waiting:
        tensor = waiting.pop()
        if tensor in makers:
            found.append(graph.tensors[tensor].name.decode())
            if codes[makers[tensor].opcodeIndex] in passing:
                waiting += [int(i) for i in makers[tensor].inputs]
    return found
