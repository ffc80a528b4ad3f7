"""The Rockchip twin: what the arithmetic of its NPU does to mAP, predicted on the CPU, one effect at a time.

The reference is the exported graph in float32. A board is fed the same letterboxed RGB, and the same code suppresses
what it finds, so that arithmetic is all that differs. A model in fp16 has one effect:

- board: weights and the result of every operator are rounded to float16, sums inside an operator are not.

One in int8 or hybrid has three, in the layers that are int8:

- weights: 8 bits with a scale and a zero point for each output channel, biases whole multiples of the product of the
  weights' scale and the input's.
- activations: what is stored is rounded to 8 bits with the scale and zero point that the compiler chose for the tensor
  (`quantized.cfg`). A convolution is fused with its activation: between the two nothing is stored.
- board: both, and what stays in fp16 rounded to that.

That is what the outputs of rknn-toolkit2's simulator follow, layer by layer; none of it is documented.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from yoloslim.boxes import letterbox
from yoloslim.data.voc import VocSplit
from yoloslim.deploy.board.half import save_half
from yoloslim.deploy.board.twin import Image, Rows, predict_changes
from yoloslim.deploy.describe import read_onnx
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.rockchip.compilation import load_rknn_result
from yoloslim.deploy.rockchip.effects import TITLES
from yoloslim.deploy.rounding import Rounding, eight_bits, halves, round_values
from yoloslim.documents import read_yaml
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats, NmsOptions, detect
from yoloslim.evaluation.predictor import OnnxPredictor
from yoloslim.toolchains.programs.run_rockchip import GRAPH

_ACTIVATIONS = {"Sigmoid", "Mul", "Relu", "LeakyRelu"}
"""Operators that are fused with the convolution before them."""


def predict_npu(
    folder: Path, split: VocSplit, options: NmsOptions, images: int = 300, threads: int = 2
) -> dict[str, dict[str, float]]:
    """Change of map50 and map50_95 by effect, on evenly chosen images of a split.

    Args:
        folder: what `compile_rknn` wrote.
        split: pictures and truth.
        options: suppression.
        images: how many, at most.
        threads: CPU threads.

    Returns:
        See `predict_changes`; the effects are those of `TITLES`, of fp16 `board` alone.

    Raises:
        DeployError: the folder holds no compiled model, or a file in it has changed.
    """
    compiled, manifest = load_rknn_result(folder), load_manifest(folder)
    effects = ("board",) if compiled.precision == "fp16" else tuple(TITLES)
    with TemporaryDirectory() as temporary:
        files = {"": folder / manifest.file} | {name: Path(temporary) / f"{name}.onnx" for name in effects}
        for name in effects:
            if compiled.precision == "fp16":
                save_half(files[""], files[name])
            else:
                save_int8(
                    files[""],
                    folder / GRAPH[2],
                    files[name],
                    weights=name != "activations",
                    activations=name != "weights",
                )
        predictors = {name: OnnxPredictor(file, manifest, threads) for name, file in files.items()}

        def find(picture: Image, effect: str) -> Rows:
            canvas, box = letterbox(picture, manifest.imgsz, manifest.letterbox_align, manifest.letterbox_fill)
            rows = detect(predictors[effect].predict(canvas[None]), manifest.head, options)[0]
            return box.detections_to_image(rows, picture.shape[1], picture.shape[0])

        return predict_changes(effects, find, split, images)


def save_int8(source: Path, chosen_by: Path, path: Path, weights: bool = True, activations: bool = True) -> None:
    """Write a graph that computes in float32 what a model compiled in int8 or hybrid would.

    Args:
        source: the ONNX graph that was compiled.
        chosen_by: the compiler's `quantized.cfg`.
        path: file to write.
        weights: round weights and biases.
        activations: round what is stored.
    """
    model, config = read_onnx(source), read_yaml(chosen_by, DeployError)
    tensors, fp16 = config["quantize_parameters"], set(config["custom_quantize_layers"] or ())
    whole = {name: found for name, found in tensors.items() if found["dtype"] == "int8" and name not in fp16}
    if weights:
        _round_weights(model, whole)
    if activations:
        fused = _fused(model)

        def chosen(_: str, name: str) -> Rounding | None:
            if name in whole and name not in fused:
                return eight_bits(model, whole[name]["scale"][0], whole[name]["zero_point"][0])
            return halves if name in fp16 and name not in fused else None

        round_values(model, chosen)
    onnx.save(model, path)


def _round_weights(model: ModelProto, tensors: dict[str, Any]) -> None:
    entry = model.graph.input[0].name
    constants = {each.name: each for each in model.graph.initializer}
    for conv in (node for node in model.graph.node if node.op_type == "Conv" and node.output[0] in tensors):
        source = f"{conv.input[0]}_int8" if conv.input[0] == entry else conv.input[0]
        weight, scale = weights_in_8_bits(numpy_helper.to_array(constants[conv.input[1]]))
        rounded = {conv.input[1]: weight}
        if len(conv.input) > 2 and source in tensors:
            step = scale * tensors[source]["scale"][0]
            rounded[conv.input[2]] = np.rint(numpy_helper.to_array(constants[conv.input[2]]) / step) * step
        for name, value in rounded.items():
            constants[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))


def weights_in_8_bits(weight: Floats) -> tuple[Any, Any]:
    """Weights (outputs, ...) as 8 bits with a scale and zero point for each output give them, and the scales."""
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    low, high = np.minimum(rows.min(1), 0), np.maximum(rows.max(1), 0)
    scale = (high - low).clip(1e-12) / 255
    zero = np.rint(-128 - low / scale)[:, None]
    numbers = np.clip(np.rint(rows / scale[:, None]) + zero, -128, 127) - zero
    return (numbers * scale[:, None]).reshape(weight.shape), scale


def _fused(model: ModelProto) -> set[str]:
    """Results of convolutions that nothing but their activation reads."""
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    convs = (node.output[0] for node in model.graph.node if node.op_type == "Conv")
    return {name for name in convs if readers.get(name) and readers[name] <= _ACTIVATIONS}
