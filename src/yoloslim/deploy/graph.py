"""Find the raw outputs of an exported YOLO graph by its structure, and give them names that stay.

Node names depend on exporter and version (`Transpose_260`, `/model.24/Transpose`, `node_permute`), the structure does
not; what it is like, the head says (`Head.raw_outputs`).
"""

from collections.abc import Iterator
from itertools import chain, count

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor import Images, divide_by_255
from yoloslim.heads import Head
from yoloslim.heads.base import output_name, shapes_of
from yoloslim.runner.names import is_plain


def name_outputs(model: ModelProto, head: Head, classes: int) -> dict[str, tuple[int, ...]]:
    """Make the raw outputs the graph's only outputs, in place, with stable names.

    Args:
        model: a graph with static shapes; whatever stands behind the raw outputs (decoding, NMS) is cut off.
        head: what gives them.
        classes: number of classes.

    Returns:
        Name -> shape with the batch, in the order of the head's strides. Node, tensor and output share the name.

    Raises:
        DeployError: not exactly one output a stride; says what was looked for and what is there.
    """
    found = head.raw_outputs(model, classes)
    if len(found) != len(head.strides):
        raise DeployError(_not_found(model, head, classes, len(found)))
    by_size = sorted(found, key=lambda item: -item[1][2])
    heads: dict[str, tuple[int, ...]] = {}
    for (node, shape), stride in zip(by_size, sorted(head.strides), strict=True):
        name = output_name(stride)
        _rename_tensor(model, node.output[0], name)
        node.name = name
        heads[name] = shape
    heads = {name: heads[name] for name in map(output_name, head.strides)}
    del model.graph.output[:]
    for name, shape in heads.items():
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    _drop_unused(model, set(heads))
    return heads


def head_nodes(model: ModelProto) -> list[NodeProto]:
    """The nodes that make the raw outputs: the last convolutions, and what stands between them and the outputs."""
    makers = {output: node for node in model.graph.node for output in node.output}
    found: list[NodeProto] = []
    waiting = [makers[output.name] for output in reversed(model.graph.output)]
    while waiting:
        node = waiting.pop()
        if node.op_type == "Constant" or node in found:
            continue
        found.append(node)
        if node.op_type != "Conv":
            waiting += [makers[name] for name in reversed(node.input) if name in makers]
    return found


def feeds(graph: ModelProto, images: Images) -> Iterator[dict[str, Floats]]:
    """What a graph of one image a call is fed for each of uint8 images (N, S, S, 3)."""
    for image in images:
        yield {graph.graph.input[0].name: divide_by_255(image[None])}


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


def _not_found(model: ModelProto, head: Head, classes: int, count: int) -> str:
    shapes = shapes_of(model)
    outputs = ", ".join(f"{o.name} {list(shapes.get(o.name, ()))}" for o in model.graph.output)
    return (
        f"found {count} heads in the graph where {len(head.strides)} are needed (strides {list(head.strides)}); "
        f"looked for {head.structure} for {classes} classes. The graph has outputs: {outputs or 'none'}. "
        "Export it with raw heads, static shapes and the same classes"
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
