"""Which layer int8 costs how much, and which layers are better left out of it.

A layer is a convolution with its activation: runtimes fuse the two. What it costs is measured with ONNX Runtime, by
what the network gives when this layer alone is quantised: weights by channel, what it reads and gives by tensor.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from yoloslim.deploy.before_silu import plain_session, ranges_before_silu, values_in
from yoloslim.deploy.graph import feeds, head_nodes
from yoloslim.deploy.names import unit_of
from yoloslim.deploy.rounding import eight_bits
from yoloslim.deploy.runtimes.base import Ranges
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import Images

IMAGES = 4
"""First calibration images that losses are measured on."""


def losses(graph: ModelProto, images: Images, trained: Ranges) -> dict[str, float]:
    """What each convolution costs when it alone is int8, in the order of the graph; those of the heads never are.

    Args:
        graph: of one image a call.
        images: uint8 (N, S, S, 3), to take ranges from; the first `IMAGES` are measured.
        trained: ranges of tensors that training has set.

    Returns:
        Name of the convolution's output -> size (root of the sum of squares) of what it changes in all raw outputs, as
        a share of theirs.
    """
    kept = {node.name for node in head_nodes(graph)}
    convs = [node for node in graph.graph.node if node.op_type == "Conv" and node.name not in kept]
    ranges = {**_ranges(graph, convs, images), **ranges_before_silu(graph, images), **trained}
    inputs = list(feeds(graph, images[:IMAGES]))
    wanted = _run(graph, inputs)
    return {conv.output[0]: _loss(_run(_alone(graph, conv, ranges), inputs), wanted) for conv in convs}


def most_sensitive(losses: Mapping[str, float], share: float) -> tuple[str, ...]:
    """Tensors of the layers that lose most by themselves.

    A convolution and its activation are one layer: the compiler fuses them, and one alone in more bits saves nothing.

    Args:
        losses: by tensor.
        share: of all layers, 0 to 1; at least one.
    """
    by_layer: dict[str, list[str]] = {}
    for tensor in losses:
        by_layer.setdefault(unit_of(tensor), []).append(tensor)
    worst = sorted(by_layer, key=lambda name: -max(losses[tensor] for tensor in by_layer[name]))
    return tuple(tensor for name in worst[: max(1, round(share * len(worst)))] for tensor in by_layer[name])


def nodes_of(graph: ModelProto, tensors: Sequence[str]) -> tuple[str, ...]:
    """Names of the convolutions that give these tensors, and of their activations."""
    units = {unit_of(tensor) for tensor in tensors}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found, waiting = [], [node for node in graph.graph.node if node.output[0] in tensors]
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found.append(node.name)
            waiting += [each for each in readers.get(node.output[0], []) if unit_of(each.name) in units]
    return tuple(found)


def _ranges(graph: ModelProto, convs: Sequence[NodeProto], images: Images) -> dict[str, tuple[float, float]]:
    """Least and largest value of all that convolutions read and give; 0 is always between."""
    names = list(dict.fromkeys(name for conv in convs for name in (conv.input[0], conv.output[0])))
    low, high = np.zeros(len(names)), np.zeros(len(names))
    source = {value.name for value in graph.graph.input}
    inner = [name for name in names if name not in source]
    for feed, values in zip(feeds(graph, images), values_in(graph, inner, feeds(graph, images)), strict=True):
        every = {**feed, **dict(zip(inner, values, strict=True))}
        low = np.minimum(low, [every[name].min() for name in names])
        high = np.maximum(high, [every[name].max() for name in names])
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}


def _alone(graph: ModelProto, conv: NodeProto, ranges: Ranges) -> ModelProto:
    """The graph with one convolution computing what int8 would make of its numbers."""
    made = ModelProto()
    made.CopyFrom(graph)
    index = next(i for i, node in enumerate(made.graph.node) if node.name == conv.name)
    node = made.graph.node[index]
    weight = next(each for each in made.graph.initializer if each.name == node.input[1])
    weight.CopyFrom(numpy_helper.from_array(_rounded(numpy_helper.to_array(weight)), weight.name))
    reads, gives = node.input[0], node.output[0]
    node.input[0], node.output[0] = f"{reads}_in_8_bits", f"{gives}_in_full"
    after = _eight_bits(made, node.output[0], gives, ranges[gives])
    before = _eight_bits(made, reads, node.input[0], ranges[reads])
    for position, each in ((index + 1, after), (index, before)):
        for extra in reversed(each):
            made.graph.node.insert(position, extra)
    return made


def _rounded(weight: Floats) -> Floats:
    """Weights (outputs, ...) as signed 8 bits with a scale for each output would have them."""
    peaks = np.abs(weight.reshape(len(weight), -1)).max(axis=1).clip(1e-12)
    scale = (peaks / 127).reshape(-1, *(1,) * (weight.ndim - 1))
    rounded: Floats = (np.rint(weight / scale) * scale).astype(np.float32)
    return rounded


def _eight_bits(made: ModelProto, source: str, target: str, covered: tuple[float, float]) -> list[NodeProto]:
    """Nodes that round a tensor to 256 steps over a range."""
    scale = max(covered[1] - covered[0], 1e-8) / 255
    zero = min(max(round(-covered[0] / scale), 0), 255)
    return eight_bits(made, scale, zero, 0)(source, target)


def _run(graph: ModelProto, inputs: Sequence[dict[str, Floats]]) -> NDArray[np.float64]:
    """All raw outputs of all inputs in one row."""
    session = plain_session(graph)
    return np.concatenate([head.ravel() for feed in inputs for head in session.run(None, feed)]).astype(np.float64)


def _loss(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    return float(f"{np.linalg.norm(found - wanted) / max(float(np.linalg.norm(wanted)), 1e-12):.4g}")
