"""The twin's arithmetic by hand; tests/stages/test_rknn.py compares it with the simulator, where that is installed."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from yoloslim.deploy.rockchip.twin import save_int8, weights_in_8_bits
from yoloslim.deploy.rounding import eight_bits, halves, round_values


def test_weights_are_spread_over_256_steps_that_hold_zero() -> None:
    weight = np.float32([[-1.0, 0.004, 1.55], [0.0, 0.013, 2.55], [-2.55, -1.004, -0.5]])
    rounded, scale = weights_in_8_bits(weight)
    np.testing.assert_allclose(scale, 0.01, rtol=1e-6)
    np.testing.assert_allclose(rounded, [[-1.0, 0.0, 1.55], [0.0, 0.01, 2.55], [-2.55, -1.0, -0.5]], atol=1e-7)


def test_stored_values_are_rounded_as_chosen_and_others_are_not() -> None:
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in (("x", "p"), ("x", "q"), ("x", "r"))]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xpqr"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    ways = {"p": eight_bits(model, 0.5, -128), "q": halves}
    round_values(model, lambda _, name: ways.get(name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.float32([-3.0, 0.3, 1 / 3, 200.0])
    p, q, r = session.run(None, {"x": x})
    np.testing.assert_array_equal(p, [0.0, 0.5, 0.5, 127.5])
    np.testing.assert_array_equal(q, x.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(r, x)


def test_a_convolution_is_stored_behind_its_activation_only(tmp_path: Path) -> None:
    """One weight of 1.0 in steps of 1 / 255, a bias in steps of 0.1 / 255; SiLU by hand, in steps of 0.5."""
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Mul", ["c", "s"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 1, 3]) for name in ("images", "y"))
    constants = [("w", np.ones((1, 1, 1, 1), np.float32)), ("b", np.float32([0.0005]))]
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(value, name) for name, value in constants])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), tmp_path / "g.onnx")
    steps = "{dtype: int8, scale: [%s], zero_point: [-128]}"
    (tmp_path / "cfg").write_text(
        f"custom_quantize_layers: {{}}\nquantize_parameters:\n  images_int8: {steps % 0.1}\n  c: {steps % 9}\n"
        f"  y: {steps % 0.5}\n"
    )
    save_int8(tmp_path / "g.onnx", tmp_path / "cfg", tmp_path / "all.onnx")
    save_int8(tmp_path / "g.onnx", tmp_path / "cfg", tmp_path / "weights.onnx", activations=False)
    pixels = np.float32([[[[0.4, 1.3, 300.0]]]])
    found, exact = (
        onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"]).run(
            None, {"images": pixels}
        )[0]
        for name in ("all.onnx", "weights.onnx")
    )
    np.testing.assert_array_equal(found.ravel(), [0.0, 1.0, 127.5])  # 0.24, 1.02 and 300, of which 255 steps are left
    value = pixels + np.float32(0.1 / 255)  # 0.0005 is 1.3 of its steps
    np.testing.assert_allclose(exact, value / (1 + np.exp(-value)), rtol=1e-5)
