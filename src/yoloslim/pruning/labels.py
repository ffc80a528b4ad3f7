"""Channel labels: which channels of which layers live and die together.

Every convolution output channel gets a label. Labels travel through the traced network as abstract tensors
(`graph.py`); wherever the network needs two channels to stay aligned, their labels are unified. Unified labels
form one *channel group*, which is kept or cut as a whole. Protected groups never go: the network's inputs and
outputs, and channels whose number is hard-coded somewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from yoloslim.pruning.graph import trace
from yoloslim.pruning.propagation import IntArray, LabelInterpreter, LayerKind
from yoloslim.pruning.residual import ResidualUnit, find_residual_units

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class LayerLabels:
    """One layer with per-channel weights.

    Attributes:
        path: module path.
        kind: how its weights are indexed.
        inputs: channel group of each input channel (of each input feature, for linear layers).
        outputs: channel group of each output channel.
        positions: output positions per pixel of the network's input (0 where no multiplications count).
    """

    path: str
    kind: LayerKind
    inputs: IntArray
    outputs: IntArray
    positions: float


@dataclass(frozen=True)
class ChannelLabels:
    """What `label_channels` found out about a network.

    Attributes:
        groups: number of channel groups; groups are numbered 0..groups-1.
        protected: (groups,) true where a group must stay.
        residual: (groups,) true where an elementwise sum ties different layers together.
        layers: by module path, in order of execution.
        folds_into: convolution path -> path of the BatchNorm that alone reads it.
        units: residual units, in order of execution.
        graph: the recorded operations.
        example: shape of the input the network was traced with.
    """

    groups: int
    protected: BoolArray
    residual: BoolArray
    layers: Mapping[str, LayerLabels]
    folds_into: Mapping[str, str]
    units: tuple[ResidualUnit, ...]
    graph: fx.Graph
    example: tuple[int, ...]

    @property
    def batchnorms(self) -> list[str]:
        """Paths of the BatchNorm layers, in order of execution."""
        return [path for path, layer in self.layers.items() if layer.kind == "batchnorm"]


def label_channels(model: nn.Module, example: tuple[int, ...] = (2, 3, 64, 64)) -> ChannelLabels:
    """Trace a network and label its channels.

    Args:
        model: any network made of operations that `graph.py` knows; its weights are not touched.
        example: shape (N, C, H, W) of an input it accepts. N = 2 tells the batch from axes of size one.

    Raises:
        TraceError: an operation whose effect on channels is not understood; names node, operation and module.
    """
    graph = trace(model)
    interpreter = LabelInterpreter(model, graph)
    interpreter.run(interpreter.input_labels(example))
    groups, group_of = interpreter.sets.numbered()
    flags = np.zeros((2, groups), np.bool_)
    for row, members in zip(flags, (interpreter.protected, interpreter.residual), strict=True):
        row[group_of[sorted(members)]] = True
    image = example[-1] * example[-2]
    layers = {
        path: LayerLabels(path, t.kind, group_of[t.inputs], group_of[t.outputs], t.positions / image)
        for path, t in interpreter.layers.items()
    }
    folds = _folds_into(graph, layers)
    units = find_residual_units(graph, interpreter.sums, layers)
    return ChannelLabels(groups, flags[0], flags[1], layers, folds, units, graph, tuple(example))


def _folds_into(graph: fx.Graph, layers: Mapping[str, LayerLabels]) -> dict[str, str]:
    calls: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
    folds = {}
    for path, nodes in calls.items():
        users = list(nodes[0].users)
        if path not in layers or len(nodes) > 1 or len(users) != 1 or users[0].op != "call_module":
            continue
        reader = str(users[0].target)
        if reader in layers and layers[reader].kind == "batchnorm" and len(calls[reader]) == 1:
            folds[path] = reader
    return folds
