"""Find the heads of an exported YOLO graph by its structure and give them names that stay.

Node names depend on exporter and version (`Transpose_260`, `/model.24/Transpose`, `node_permute`), the structure
does not: a head is a Transpose with perm (0, 1, 3, 4, 2) behind a Reshape whose output is (B, anchors, H, W,
5 + classes).
"""

from collections.abc import Sequence
from itertools import chain, count

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yoloslim.errors import DeployError
from yoloslim.runner.names import is_plain

HEAD_PERM = [0, 1, 3, 4, 2]


def name_heads(model: ModelProto, classes: int, strides: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Make the raw heads the graph's only outputs, in place, with stable names.

    Args:
        model: a graph with static shapes; whatever stands behind the heads (decoding, NMS) is cut off.
        classes: number of classes.
        strides: image pixels per cell, by level; stride 8 becomes `head_p3`.

    Returns:
        Name -> shape, in the order of `strides`. Node, tensor and graph output share the name.

    Raises:
        DeployError: not exactly one head a stride; says what was looked for and what is there.
    """
    found = _find_heads(model, classes)
    if len(found) != len(strides):
        raise DeployError(_no_heads_message(model, classes, strides, found))
    by_size = sorted(found, key=lambda item: -item[1][2])
    heads: dict[str, tuple[int, ...]] = {}
    for (node, shape), stride in zip(by_size, sorted(strides), strict=True):
        name = head_name(stride)
        _rename_tensor(model, node.output[0], name)
        node.name = name
        heads[name] = shape
    heads = {name: heads[name] for name in map(head_name, strides)}
    del model.graph.output[:]
    for name, shape in heads.items():
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    _drop_unused(model, set(heads))
    return heads


def head_name(stride: int) -> str:
    """The name of a level, as the literature has it: 8 pixels a cell is level 3."""
    return f"head_p{stride.bit_length() - 1}"


def head_nodes(model: ModelProto) -> list[NodeProto]:
    """The nodes that make the raw heads: the last convolutions, and what only reorders their outputs."""
    makers = {output: node for node in model.graph.node for output in node.output}
    found = []
    for output in model.graph.output:
        node = makers[output.name]
        while node.op_type != "Conv":
            found.append(node)
            node = makers[node.input[0]]
        found.append(node)
    return found


def opset_of(model: ModelProto) -> int:
    """The operator set of a graph, ONNX's own; other tools may list theirs before it."""
    return int(next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")))


def open_batch(model: ModelProto) -> None:
    """Let a graph that was traced with one image take any number, in place.

    Only reshapes hold the batch as a constant in a convolutional detector; there 1 becomes -1, "what is left".
    """
    constants = {weight.name: weight for weight in model.graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    for node in model.graph.node:
        if node.op_type == "Reshape":
            constant = constants[node.input[1]]
            shape = numpy_helper.to_array(constant).copy()
            if shape[0] == 1 and -1 not in shape:
                shape[0] = -1
                constant.CopyFrom(numpy_helper.from_array(shape, constant.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]  # shapes of the inside, which name one image


def fix_batch(model: ModelProto) -> None:
    """Let a graph of open batch take one image, in place."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def _find_heads(model: ModelProto, classes: int) -> list[tuple[NodeProto, tuple[int, ...]]]:
    shapes = _shapes(model)
    makers = {output: node for node in model.graph.node for output in node.output}
    heads: list[tuple[NodeProto, tuple[int, ...]]] = []
    for node in model.graph.node:
        perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
        if node.op_type != "Transpose" or perm != HEAD_PERM:
            continue
        before = makers.get(node.input[0])
        shape = shapes.get(node.output[0], ())
        if before is not None and before.op_type == "Reshape" and len(shape) == 5 and shape[4] == classes + 5:
            heads.append((node, shape))
    return heads


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in [*inferred.value_info, *inferred.output, *inferred.input]
    }


def _no_heads_message(
    model: ModelProto,
    classes: int,
    strides: Sequence[int],
    found: Sequence[tuple[NodeProto, tuple[int, ...]]],
) -> str:
    outputs = ", ".join(f"{o.name} {list(_shapes(model).get(o.name, ()))}" for o in model.graph.output)
    transposes = sum(node.op_type == "Transpose" for node in model.graph.node)
    return (
        f"found {len(found)} heads in the graph where {len(strides)} are needed (strides {list(strides)}); "
        f"looked for Transpose nodes with perm {HEAD_PERM} behind a Reshape, giving (B, anchors, H, W, "
        f"{classes + 5}) for {classes} classes. The graph has {transposes} Transpose nodes and outputs: "
        f"{outputs or 'none'}. Export it with raw heads, static shapes and the same classes"
    )


def name_input(model: ModelProto) -> str:
    """Give the only input a plain name, `images`, where its own is none, in place; its name now."""
    weights = {weight.name for weight in model.graph.initializer}
    value = next(value for value in model.graph.input if value.name not in weights)
    if not is_plain(value.name):
        taken = weights | {name for node in model.graph.node for name in (*node.input, *node.output)}
        name = next(name for name in chain(["images"], (f"images_{i}" for i in count())) if name not in taken)
        _rename_tensor(model, value.name, name)
        value.name = name
    return str(value.name)


def _rename_tensor(model: ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
    for value in model.graph.value_info:
        if value.name == old:
            value.name = new


def _drop_unused(model: ModelProto, wanted: set[str]) -> None:
    """Remove nodes, weights and shape notes that no output depends on."""
    needed = set(wanted)
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    kept.reverse()
    del model.graph.node[:]
    model.graph.node.extend(kept)
    for field in (model.graph.initializer, model.graph.value_info):
        used = [item for item in field if item.name in needed - wanted]
        del field[:]
        field.extend(used)
