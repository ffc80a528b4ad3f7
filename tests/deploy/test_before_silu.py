"""Ranges of what SiLU reads: by a graph of one line whose values are known, and in the int8 files of runtimes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.deploy.models import tiny_detector
from tests.toolchains import needs_toolchain
from yoloslim.deploy.before_silu import ranges_before_silu, sigmoids_of_silu
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import quantize

NOISE = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
NOISE[0, 0, :2] = [[0], [255]]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)


def line(least: float, largest: float, readers: tuple[str, ...] = ("Sigmoid", "Mul")) -> onnx.ModelProto:
    """Black becomes `least` and white `largest`, which SiLU reads, and what else is asked for."""
    nodes = [
        helper.make_node("Conv", ["images", "weight", "bias"], ["x"]),
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["y"]),
        *(helper.make_node("Neg", ["x"], ["more"]) for _ in readers[2:]),
    ]
    constants = [
        helper.make_tensor(
            "weight", TensorProto.FLOAT, (1, 3, 1, 1), (np.array((0.9, 0.1, 0)) * (largest - least)).tolist()
        ),
        helper.make_tensor("bias", TensorProto.FLOAT, (1,), [least]),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, 32, 32))
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 32, 32))
    graph = helper.make_graph(nodes, "line", [image], [given], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(("least", "largest"), [(-40.0, 8.0), (-40.0, 1.0)])
def test_what_silu_makes_zero_of_has_few_of_the_steps(least: float, largest: float) -> None:
    low, high = ranges_before_silu(line(least, largest), NOISE)["x"]
    assert high == pytest.approx(largest, rel=1e-6)
    x = least + (NOISE[..., :2] @ (0.9, 0.1)).ravel() / 255 * (largest - least)
    errors = {each: np.square(silu(rounded(x, each, largest)) - silu(x)).mean() for each in (least, -5.0, low)}
    assert -16 < low < -5  # below -10 SiLU gives 0.0005 and less
    assert errors[low] < 0.5 * errors[least]
    assert errors[low] < errors[-5.0]


def test_a_range_of_which_silu_forgets_nothing_stays() -> None:
    assert ranges_before_silu(line(-0.2, 3), NOISE)["x"] == pytest.approx((-0.2, 3), abs=0.05)


def test_what_something_else_reads_too_is_left_alone() -> None:
    both = line(-40, 8, ("Sigmoid", "Mul", "Neg"))
    assert sigmoids_of_silu(both) == ranges_before_silu(both, NOISE) == {}
    assert sigmoids_of_silu(line(-40, 8)) == {"s": "x"}


def test_onnx_runtime_rounds_over_these_ranges(tmp_path: Path) -> None:
    export_model(tiny_detector(), tmp_path / "export")
    quantize(tmp_path / "export", IMAGES, tmp_path / "int8", "onnxruntime")
    ranges = ranges_before_silu(onnx.load(tmp_path / "export/model.onnx"), IMAGES)
    assert len(ranges) > 50
    graph = onnx.load(tmp_path / "int8/model.onnx").graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    rounding = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    for name, (low, high) in ranges.items():
        scale = constants[rounding[name].input[1]]
        assert scale == pytest.approx((high - low) / 255, rel=1e-4)


@pytest.mark.slow
def test_litert_rounds_over_these_ranges_and_saturates_nothing(tmp_path: Path) -> None:
    needs_toolchain("litert")
    from ai_edge_litert.interpreter import Interpreter

    export_model(tiny_detector(), tmp_path / "export")
    quantize(tmp_path / "export", IMAGES, tmp_path / "int8", "litert")
    ranges = ranges_before_silu(onnx.load(tmp_path / "export/model.onnx"), IMAGES)
    interpreter = Interpreter(str(tmp_path / "int8/model.tflite"))
    details = {each["name"]: each["quantization_parameters"] for each in interpreter.get_tensor_details()}
    found = {name: float(details[f"{name.removesuffix('_0')}_nhwc"]["scales"][0]) for name in list(ranges)[:2]}
    for name, scale in found.items():
        low, high = ranges[name]
        assert scale == pytest.approx((high - low) / 255, rel=1e-3)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def rounded(x: np.ndarray, low: float, high: float) -> np.ndarray:
    scale = (high - low) / 255
    zero = round(-low / scale)
    return ((np.rint(x / scale) + zero).clip(0, 255) - zero) * scale
