"""Graphs that compute in float32 what a chip does in fewer bits: values that it stores are rounded, sums are not."""

from collections.abc import Callable

from onnx import ModelProto, NodeProto, TensorProto, helper

Rounding = Callable[[str, str], list[NodeProto]]
"""Nodes that round the tensor of the first name into one of the second."""


def round_values(model: ModelProto, chosen: Callable[[str, str], Rounding | None]) -> None:
    """Round what enters a graph and what its operators give, in place.

    Args:
        model: the graph.
        chosen: how to round, by kind of operator (empty for what enters) and name of the tensor; None for not at all.
    """
    graph, nodes, renamed = model.graph, list[NodeProto](), dict[str, str]()
    for value in graph.input:
        if rounding := chosen("", value.name):
            renamed[value.name] = f"{value.name}/rounded"
            nodes += rounding(value.name, renamed[value.name])
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        nodes.append(node)
        if rounding := chosen(node.op_type, name := node.output[0]):
            node.output[0] = f"{name}/full"
            nodes += rounding(node.output[0], name)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]


def halves(source: str, target: str) -> list[NodeProto]:
    """To float16 and back; a runtime may not leave the pair out, since it loses bits."""
    half = f"{target}/fp16"
    return [
        helper.make_node("Cast", [source], [half], name=f"{target}/down", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [target], name=f"{target}/up", to=TensorProto.FLOAT),
    ]


def eight_bits(model: ModelProto, scale: float, zero: int, least: int = -128) -> Rounding:
    """To whole steps and back, in plain arithmetic: of QuantizeLinear a runtime would make 8 bits of weights, too.

    Args:
        model: takes the constants.
        scale: of a step.
        zero: the whole number that stands for 0.
        least: of the 256 whole numbers.
    """

    def make(source: str, target: str) -> list[NodeProto]:
        names = [f"{target}/{what}" for what in ("scale", "least", "most", "steps", "whole", "kept")]
        for name, value in zip(names, (scale, least - zero, least + 255 - zero), strict=False):
            model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, (), [value]))
        return [
            helper.make_node("Div", [source, names[0]], [names[3]]),
            helper.make_node("Round", [names[3]], [names[4]]),
            helper.make_node("Clip", [names[4], names[1], names[2]], [names[5]]),
            helper.make_node("Mul", [names[5], names[0]], [target]),
        ]

    return make
