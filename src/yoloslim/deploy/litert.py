"""LiteRT's format, `model.tflite`: fp32 by onnx2tf in the toolchain `litert`, fp16 and int8 by Google's quantiser.

The graph inside is NHWC, as LiteRT's kernels want it; its input keeps ONNX's layout (NCHW), names and order stay.
Outputs of five sides keep their layout, those of four come as (1, H, W, C).
"""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from yoloslim.deploy.before_silu import ranges_before_silu, sigmoids_of_silu
from yoloslim.deploy.graph import feeds
from yoloslim.deploy.runtimes.base import Ranges
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import Images
from yoloslim.quiet import quiet, silent

MODEL = "model.tflite"
_PASS_ON = ("TRANSPOSE", "RESHAPE", "CONCATENATION")
"""Between convolutions and what reads their values unchanged."""


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


def write_litert_int8(graph: onnx.ModelProto, images: Images, folder: Path) -> list[str]:
    """Likewise in int8, weights by channel and activations by tensor; input, outputs and last convolutions stay fp32.

    Args:
        graph: of one image a call.
        images: uint8 (N, S, S, 3), to take the ranges of activations from.
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
    ranges = _calibrate(folder / MODEL, quantizer.get_quantization_recipe(), list(feeds(graph, images)))
    narrow = ranges_before_silu(graph, images)
    read_by = {sigmoid: narrow[name] for sigmoid, name in sigmoids_of_silu(graph).items()}
    for name, (low, _) in _read_by_logistic(folder / MODEL, read_by).items():
        ranges[name]["min"] = np.full_like(ranges[name]["min"], low)
    return _save(quantizer, ranges, folder)


def _calibrate(file: Path, recipe: Any, inputs: list[dict[str, Floats]]) -> Any:
    """Least and largest value of each tensor; `Quantizer.calibrate` takes means over the images, which saturate."""
    from litert_quantizer import calibrator, recipe_manager
    from litert_quantizer.utils import qsv_utils

    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(recipe)
    with quiet(), silent():  # a bar for every operator, and warnings about memory
        found = calibrator.Calibrator(file.read_bytes(), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        (signature,) = _signatures(file)
        found.calibrate({signature: inputs}, recipes)
    return found.get_model_qsvs()


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
    graph, kinds = _read(file)
    return _passed_on(graph, kinds, [int(output) for output in graph.outputs])


def _read_by_logistic(file: Path, wanted: Ranges) -> Ranges:
    """The range of what a LOGISTIC reads, for those whose result is called as in `wanted`."""
    graph, kinds = _read(file)
    found = dict[str, tuple[float, float]]()
    for op, kind in zip(graph.operators, kinds, strict=True):
        given = graph.tensors[op.outputs[0]].name.decode().removesuffix(";")
        if kind == "LOGISTIC" and given in wanted:
            found |= dict.fromkeys(_passed_on(graph, kinds, [int(op.inputs[0])]), wanted[given])
    return found


def _read(file: Path) -> tuple[Any, list[str]]:
    """The graph, and the kind of each of its operators."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes()))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    (graph,) = model.subgraphs
    return graph, [codes[op.opcodeIndex] for op in graph.operators]


def _passed_on(graph: Any, kinds: list[str], tensors: list[int]) -> list[str]:
    """Names of tensors, and of those before them that reach them unchanged."""
    makers = {int(output): (op, kind) for op, kind in zip(graph.operators, kinds, strict=True) for output in op.outputs}
    waiting, found = list(tensors), list[str]()
    while waiting:
        tensor = waiting.pop()
        if tensor in makers:
            op, kind = makers[tensor]
            found.append(graph.tensors[tensor].name.decode())
            if kind in _PASS_ON:
                waiting += [int(i) for i in op.inputs]
    return found
