"""A graph that computes in float32 what a chip would compute in float16: every stored value is rounded."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from yoloslim.deploy.rounding import halves, round_values
from yoloslim.files import atomic_path

_EXACT = ("Reshape", "Transpose", "Concat", "Slice", "MaxPool", "Resize", "Constant", "Shape", "Gather", "Unsqueeze")
"""Operators that only move or choose values: rounding what is rounded already changes nothing (nearest Resize)."""


def save_half(source: Path, path: Path) -> None:
    """Write a copy of an ONNX graph whose weights and operators' results are float16 numbers held in float32.

    The sums inside a convolution stay in float32, as in the chip's matrix unit. Values beyond 65504 become infinite,
    as there. The network's input is rounded, too.
    """
    model = onnx.load(source)
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            rounded = numpy_helper.to_array(weight).astype(np.float16).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(rounded, weight.name))
    round_values(model, lambda kind, _: None if kind in _EXACT else halves)
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)
