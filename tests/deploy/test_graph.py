import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from yoloslim.deploy.graph import name_outputs
from yoloslim.errors import DeployError
from yoloslim.heads import AnchorHead

CLASSES = 2


def head(*strides: int) -> AnchorHead:
    return AnchorHead(strides=strides, anchors=(((8, 8),),) * len(strides))


def make_graph(tail: bool = False, order: tuple[int, ...] = (8, 16), perm: tuple[int, ...] = (0, 1, 3, 4, 2)):
    """Heads as the exporter of 2021 named them, in any order, with an optional decoding tail."""
    nodes, weights, outputs = [], [], []
    inputs = [helper.make_tensor_value_info(f"f{s}", TensorProto.FLOAT, (1, 7, 64 // s, 64 // s)) for s in (8, 16)]
    for number, stride in enumerate(order):
        side = 64 // stride
        weights.append(numpy_helper.from_array(np.array([1, 1, 7, side, side]), f"shape{stride}"))
        nodes.append(helper.make_node("Reshape", [f"f{stride}", f"shape{stride}"], [f"r{stride}"], f"Reshape_{number}"))
        nodes.append(
            helper.make_node("Transpose", [f"r{stride}"], [f"t{stride}"], f"Transpose_{260 * number + 260}", perm=perm)
        )
        last = f"t{stride}"
        if tail:
            nodes.append(helper.make_node("Sigmoid", [last], [f"s{stride}"], f"Sigmoid_{number}"))
            weights.append(numpy_helper.from_array(np.float32(2), f"two{stride}"))
            nodes.append(helper.make_node("Mul", [f"s{stride}", f"two{stride}"], [f"m{stride}"], f"Mul_{number}"))
            last = f"m{stride}"
        outputs.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, None))
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def run(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    rng = np.random.default_rng(0)
    feeds = {i.name: rng.random(i.shape).astype(np.float32) for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize("order", [(8, 16), (16, 8)])
def test_heads_are_named_by_level_whatever_their_order(order: tuple[int, ...]) -> None:
    model = make_graph(order=order)
    before = run(model)
    heads = name_outputs(model, head(8, 16), CLASSES)
    onnx.checker.check_model(model, full_check=True)
    assert heads == {"head_p3": (1, 1, 8, 8, 7), "head_p4": (1, 1, 4, 4, 7)}
    after = run(model)
    assert list(after) == ["head_p3", "head_p4"]
    np.testing.assert_array_equal(after["head_p3"], before["t8"])
    np.testing.assert_array_equal(after["head_p4"], before["t16"])


def test_what_comes_after_the_heads_is_cut_off() -> None:
    model, plain = make_graph(tail=True), make_graph()
    name_outputs(model, head(8, 16), CLASSES)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} == {"Reshape", "Transpose"}
    assert {w.name for w in model.graph.initializer} == {"shape8", "shape16"}
    np.testing.assert_array_equal(run(model)["head_p3"], run(plain)["t8"])


@pytest.mark.parametrize(
    ("model", "classes", "strides"),
    [
        (make_graph(), 3, (8, 16)),
        (make_graph(), CLASSES, (8, 16, 32)),
        (make_graph(perm=(0, 1, 4, 3, 2)), CLASSES, (8, 16)),
    ],
)
def test_missing_heads_are_an_error_that_says_what_was_looked_for(
    model: onnx.ModelProto, classes: int, strides: tuple[int, ...]
) -> None:
    with pytest.raises(DeployError) as caught:
        name_outputs(model, head(*strides), classes)
    message = str(caught.value)
    assert f"where {len(strides)} are needed" in message
    assert f"(B, anchors, H, W, 5 + classes) for {classes} classes" in message
    assert "The graph has outputs: t8 [1, 1, 8, 8, 7], t16 [1, 1, 4, 4, 7]" in message
