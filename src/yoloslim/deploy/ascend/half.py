"""A graph that computes in float32 what a chip would compute in float16: every stored value is rounded."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yoloslim.files import atomic_path

_EXACT = ("Reshape", "Transpose", "Concat", "Slice", "MaxPool", "Resize", "Constant", "Shape", "Gather", "Unsqueeze")
"""Operators that only move or choose values: rounding what is rounded already changes nothing (nearest Resize)."""


def save_half(source: Path, path: Path) -> None:
    """Write a copy of an ONNX graph whose weights and operators' results are float16 numbers held in float32.

    The sums inside a convolution stay in float32, as in the chip's matrix unit. Values beyond 65504 become infinite,
    as there. The network's input is rounded, too.
    """
    model = onnx.load(source)
    graph = model.graph
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            rounded = numpy_helper.to_array(weight).astype(np.float16).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(rounded, weight.name))
    nodes = []
    renamed = {}
    for value in graph.input:
        nodes += _rounding(value.name, f"{value.name}/half")
        renamed[value.name] = f"{value.name}/half"
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        nodes.append(node)
        if node.op_type not in _EXACT:
            name = node.output[0]
            node.output[0] = f"{name}/full"
            nodes += _rounding(f"{name}/full", name)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    """To float16 and back; a runtime may not leave the pair out, since it loses bits."""
    half = f"{target}/fp16"
    return [
        helper.make_node("Cast", [source], [half], name=f"{target}/down", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [target], name=f"{target}/up", to=TensorProto.FLOAT),
    ]
