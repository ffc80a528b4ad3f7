"""What Ascend's compiler is known to choke on in a graph: rewritten where the meaning stays, else refused by name.

Errors of the compiler name its own operators, hours later and on another machine; here they name a layer of the model.
Sources: CANN's operator notes and error codes, public issues, and what another exporter found with a real ATC
(NonMaxSuppression with three inputs ends in a segmentation fault).
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.helper import get_attribute_value

from yoloslim.deploy.graph import opset_of
from yoloslim.deploy.names import layer_of
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.heads.base import shapes_of

logger = logging.getLogger(__name__)

FIRST_OPSET, LAST_OPSET = 11, 18
"""Compilers of 2021 and 2022 (CANN 5) read 11 only; 18 is the last that the documentation of 2026 names."""

OPERATORS_WITHOUT_KERNEL = ("Loop", "If", "Scan", "SequenceAt", "Unique", "StringNormalizer", "RandomNormalLike")
"""What depends on values, and so has no shape before it runs."""

_NMS_DEFAULTS: dict[int, NDArray[Any]] = {
    2: np.array([0], np.int64),
    3: np.array([0], np.float32),
    4: np.array([np.finfo(np.float32).min], np.float32),
}
"""What ONNX says of inputs that are left out: no box at all, no overlap, and no lowest score."""


def fit_for_atc(model: ModelProto) -> list[str]:
    """Rewrite in place what the compiler does not take, without changing what the graph computes.

    Returns:
        What was rewritten, a sentence each.

    Raises:
        DeployError: something that cannot be rewritten; names the layer, the reason and the way out.
    """
    _check_opsets(model)
    constants = _constants(model)
    shapes = shapes_of(model)
    done = []
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise _refusal(
                node, f"operator {node.domain}.{node.op_type} is not ONNX's own", "export with plain operators"
            )
        if node.op_type in OPERATORS_WITHOUT_KERNEL:
            raise _refusal(node, f"{node.op_type} has no static shape", "export raw outputs with static shapes")
        if node.op_type == "Resize":
            done += _fit_resize(model, node, constants, shapes)
        elif node.op_type == "NonMaxSuppression":
            done += _fit_nms(model, node)
        elif node.op_type == "Slice":
            _say_focus(node, constants, shapes)
    return done


def _check_opsets(model: ModelProto) -> None:
    domains = [item.domain for item in model.opset_import if item.domain not in ("", "ai.onnx")]
    if domains:
        raise DeployError(
            f"the graph uses operator sets {', '.join(domains)} beside ONNX's own, and ATC takes one only (E16005): "
            "export it with plain ONNX operators"
        )
    opset = opset_of(model)
    if not FIRST_OPSET <= opset <= LAST_OPSET:
        raise DeployError(
            f"the graph is of opset {opset}; ATC takes {FIRST_OPSET} to {LAST_OPSET} (EZ9010: no parser is "
            f"registered): export it with opset {FIRST_OPSET}, which every CANN reads (export.opset)"
        )
    if opset > FIRST_OPSET:
        logger.warning(
            "the graph is of opset %d; CANN 5 reads %d only, newer ones up to %d", opset, FIRST_OPSET, LAST_OPSET
        )


def _fit_resize(
    model: ModelProto, node: NodeProto, constants: Mapping[str, Floats], shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Constant sizes become the scales that give them; computed ones are refused."""
    mode = _attribute(node, "mode", b"nearest")
    if mode not in (b"nearest", b"linear"):
        raise _refusal(node, f"Resize in mode {mode.decode()} has no kernel (EZ3002)", "export with nearest upsampling")
    inputs = [*node.input, "", "", ""][:4]
    if inputs[2] and inputs[2] in constants and constants[inputs[2]].size:
        return []
    if (inputs[2] and inputs[2] not in constants) or inputs[3] not in constants:
        raise _refusal(
            node,
            "Resize computes its size while it runs (E19999)",
            "export with static shapes, or simplify the graph (`onnxsim`)",
        )
    before, after = shapes.get(inputs[0]), constants[inputs[3]]
    if before is None or len(before) != len(after) or not all(before[1:]):
        raise _refusal(node, "Resize has a size but its input has no known shape", "export with static shapes")
    scales = np.array([1, *(np.asarray(after[1:], float) / before[1:])], np.float32)
    if not np.array_equal(np.floor(scales[1:].astype(float) * before[1:]), after[1:]):
        raise _refusal(
            node, f"Resize from {list(before)} to {list(after)} has no exact scale", "resize by a whole factor"
        )
    name = f"{node.output[0]}/scales"
    model.graph.initializer.append(numpy_helper.from_array(scales, name))
    del node.input[:]
    node.input.extend([inputs[0], inputs[1], name])
    return [f"Resize of layer {layer_of(node.name)} has scales {scales[1:].tolist()} instead of sizes"]


def _fit_nms(model: ModelProto, node: NodeProto) -> list[str]:
    inputs = [*node.input, "", "", ""][:5]
    missing = [number for number, name in enumerate(inputs) if not name]
    for number in missing:
        inputs[number] = f"{node.output[0]}/input{number}"
        model.graph.initializer.append(numpy_helper.from_array(_NMS_DEFAULTS[number], inputs[number]))
    del node.input[:]
    node.input.extend(inputs)
    return [f"NonMaxSuppression of layer {layer_of(node.name)} has all five inputs"] if missing else []


def _say_focus(node: NodeProto, constants: Mapping[str, Floats], shapes: Mapping[str, tuple[int, ...]]) -> None:
    inputs = [*node.input, "", "", ""][:5]
    steps, axes = constants.get(inputs[4]), constants.get(inputs[3])
    rank = len(shapes.get(inputs[0], ()))
    if steps is None or axes is None or not rank:
        return
    if any(abs(int(step)) > 1 and int(axis) % rank == rank - 1 for step, axis in zip(steps, axes, strict=True)):
        logger.warning(
            "layer %s takes every second column (Slice): ATC has no fast kernel for that (W11001) and it may fail on "
            "the chip; import the checkpoint instead of its ONNX, so that Focus becomes a convolution",
            layer_of(node.name),
        )


def _constants(model: ModelProto) -> dict[str, Floats]:
    found = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}
    found |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    return found


def _attribute(node: NodeProto, name: str, default: bytes) -> bytes:
    return next((bytes(get_attribute_value(item)) for item in node.attribute if item.name == name), default)


def _refusal(node: NodeProto, reason: str, fix: str) -> DeployError:
    return DeployError(f"layer {layer_of(node.name or node.output[0])}: {reason}, and ATC does not take it: {fix}")
