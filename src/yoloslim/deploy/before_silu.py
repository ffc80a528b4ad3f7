"""Which range 8 bits should cover of what goes into SiLU, x * sigmoid(x): it forgets how far below zero x was.

Over least to largest value a good part of 256 steps stands for what SiLU makes all but zero of, and the rest is coarser
for it. So the least value is the one that costs what SiLU gives the least; the largest stays, since nothing bounds what
SiLU makes of that.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, helper

from yoloslim.deploy.graph import feeds
from yoloslim.deploy.runtimes.base import Ranges
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import Images

VALUES = 5000
"""Of a tensor and an image that are looked at, drawn at random; the least and the largest besides."""
SHARES = np.linspace(1, 0.02, 50)
"""Of the least value, that are tried."""


def ranges_before_silu(graph: ModelProto, images: Images) -> Ranges:
    """The ranges of the tensors that SiLU alone reads.

    Args:
        graph: of one image a call.
        images: uint8 (N, S, S, 3).
    """
    names, rng = list(sigmoids_of_silu(graph).values()), np.random.default_rng(0)
    seen: dict[str, list[Floats]] = {name: [] for name in names}
    for values in values_in(graph, names, feeds(graph, images)) if names else ():
        for name, tensor in zip(names, values, strict=True):
            flat = tensor.ravel()
            drawn = flat[rng.integers(flat.size, size=min(VALUES, flat.size))]
            seen[name].append(np.append(drawn, (flat.min(), flat.max())))
    return {name: _range(np.concatenate(values)) for name, values in seen.items()}


def sigmoids_of_silu(graph: ModelProto) -> dict[str, str]:
    """What the sigmoid of each SiLU gives -> what the SiLU reads, where nothing else reads that."""
    readers: dict[str, list[str]] = {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    sigmoids = (node for node in graph.graph.node if node.op_type == "Sigmoid")
    return {node.output[0]: node.input[0] for node in sigmoids if sorted(readers[node.input[0]]) == ["Mul", "Sigmoid"]}


def values_in(graph: ModelProto, names: Sequence[str], inputs: Iterator[dict[str, Floats]]) -> Iterator[list[Floats]]:
    """Values of tensors inside a graph for each input."""
    made = ModelProto()
    made.CopyFrom(graph)
    made.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = plain_session(made)
    for feed in inputs:
        yield session.run(list(names), feed)


def plain_session(graph: ModelProto) -> onnxruntime.InferenceSession:
    """A graph that is computed as it is written."""
    options = onnxruntime.SessionOptions()
    # any optimisation would quantise weights once more, by tensor, where it sees what they multiply in 8 bits
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _range(values: Floats) -> tuple[float, float]:
    least, largest = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    counts, edges = np.histogram(values, 4096)
    middles = (edges[1:] + edges[:-1]) / 2
    wanted = _silu(middles)
    costs = [float(counts @ (_silu(_rounded(middles, low, largest)) - wanted) ** 2) for low in least * SHARES]
    return float(least * SHARES[int(np.argmin(costs))]), largest


def _silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    silu: NDArray[np.float64] = x / (1 + np.exp(-x.clip(-60)))
    return silu


def _rounded(x: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    scale = max(high - low, 1e-8) / 255
    zero = round(-low / scale)
    rounded: NDArray[np.float64] = ((np.rint(x / scale) + zero).clip(0, 255) - zero) * scale
    return rounded
