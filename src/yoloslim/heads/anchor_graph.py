"""The raw outputs of the anchor heads in an ONNX graph, whatever tool exported it and whatever it puts behind them."""

from onnx import ModelProto, NodeProto

from yoloslim.heads.base import Shape, shapes_of

PERM = [0, 1, 3, 4, 2]


def raw_outputs(model: ModelProto, classes: int) -> list[tuple[NodeProto, Shape]]:
    """Each Transpose with `PERM` behind a Reshape whose output is (B, anchors, H, W, 5 + classes), with that shape."""
    shapes = shapes_of(model)
    makers = {output: node for node in model.graph.node for output in node.output}
    heads: list[tuple[NodeProto, Shape]] = []
    for node in model.graph.node:
        perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
        if node.op_type != "Transpose" or perm != PERM:
            continue
        before = makers.get(node.input[0])
        shape = shapes.get(node.output[0], ())
        if before is not None and before.op_type == "Reshape" and len(shape) == 5 and shape[4] == classes + 5:
            heads.append((node, shape))
    return heads
