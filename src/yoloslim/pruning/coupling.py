"""Channel coupling: which channels of which layers live and die together.

Every convolution output channel gets an id. Ids travel through the traced network as abstract tensors
(`graph.py`); wherever the network needs two channels to stay aligned, their ids are unified. Unified ids
form one *channel group*, which is kept or cut as a whole. Protected groups never go: the network's inputs and
outputs, and channels whose number is hard-coded somewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from yoloslim.errors import TraceError
from yoloslim.pruning.alignment import line
from yoloslim.pruning.graph import trace
from yoloslim.pruning.inputs import Example, Inputs
from yoloslim.pruning.propagation import CouplingInterpreter
from yoloslim.pruning.residual import ResidualUnit, find_residual_units
from yoloslim.pruning.union import IntArray, LayerKind

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class LayerGroups:
    """One layer with per-channel weights.

    Attributes:
        path: module path.
        kind: how its weights are indexed.
        inputs: channel group of each input channel (of each input feature, for linear layers).
        outputs: channel group of each output channel.
        positions: output positions per pixel of the network's first input (0 where no multiplications count).
    """

    path: str
    kind: LayerKind
    inputs: IntArray
    outputs: IntArray
    positions: float


@dataclass(frozen=True)
class ParameterGroups:
    """A parameter that the network uses directly, such as a position embedding or the scales of a layer.

    Attributes:
        path: of the parameter.
        axis: that holds channels; None if it is left as it is.
        outputs: channel group of each place on that axis.
        size: values in all.
    """

    path: str
    axis: int | None
    outputs: IntArray
    size: int


@dataclass(frozen=True)
class Coupling:
    """What `find_coupling` found out about a network.

    Attributes:
        groups: number of channel groups; groups are numbered 0..groups-1.
        protected: (groups,) true where a group must stay.
        residual: (groups,) true where an elementwise sum couples different layers together.
        layers: by module path, in order of execution.
        parameters: by path, those that no layer holds.
        folds_into: convolution path -> path of the BatchNorm that alone reads it.
        units: residual units, in order of execution.
        graph: the recorded operations.
        example: the inputs that the network was traced with.
        kept: operations that need every channel of what they read, which therefore stay, in words.
    """

    groups: int
    protected: BoolArray
    residual: BoolArray
    layers: Mapping[str, LayerGroups]
    parameters: Mapping[str, ParameterGroups]
    folds_into: Mapping[str, str]
    units: tuple[ResidualUnit, ...]
    graph: fx.Graph
    example: Inputs
    kept: tuple[str, ...] = ()

    @property
    def batchnorms(self) -> list[str]:
        """Paths of the BatchNorm layers, in order of execution."""
        return [path for path, layer in self.layers.items() if layer.kind == "batchnorm"]


def find_coupling(model: nn.Module, example: Example | Inputs = (2, 3, 64, 64)) -> Coupling:
    """Trace a network and find which of its channels go together.

    Args:
        model: any network made of operations that `operations.py` knows; its weights are not touched.
        example: inputs it accepts, or the shape (N, C, H, W) of one. N = 2 tells the batch from axes of size one.

    Raises:
        TraceError: an operation whose effect on channels is not understood; names node, operation and module. Or
            the network's forward depends on values, or fails on the example.
        PruneError: the example holds no tensor, or one that is not finite.
    """
    inputs, graph = _traced(model, Inputs.of(example))
    interpreter = CouplingInterpreter(model, graph)
    interpreter.read(inputs)
    _protect_shared(model, interpreter)
    axes = {path: _settled_axis(interpreter, ids) for path, ids in interpreter.parameters.items()}
    groups, group_of = interpreter.sets.numbered()
    flags = np.zeros((2, groups), np.bool_)
    for row, members in zip(flags, (interpreter.protected, interpreter.residual), strict=True):
        row[group_of[sorted(members)]] = True
    layers = {
        path: LayerGroups(path, t.kind, group_of[t.inputs], group_of[t.outputs], t.positions / inputs.pixels)
        for path, t in interpreter.layers.items()
    }
    parameters = {}
    for path, ids in interpreter.parameters.items():
        axis = axes[path]
        places = ids.flatten()[:1] if axis is None else line(ids, axis)
        parameters[path] = ParameterGroups(path, axis, group_of[places.numpy()], ids.numel())
    folds = _folds_into(graph, layers)
    units = find_residual_units(graph, interpreter.sums, layers)
    return Coupling(
        groups, flags[0], flags[1], layers, parameters, folds, units, graph, inputs, tuple(interpreter.kept)
    )


def _traced(model: nn.Module, inputs: Inputs) -> tuple[Inputs, fx.Graph]:
    """Record a network, on a batch of two if it takes one, and without a trace of the recording."""
    weight = next(model.parameters(), None)
    if weight is not None:
        inputs = inputs.map(lambda x: x.to(weight.device, weight.dtype if x.is_floating_point() else None))
    doubled = inputs.at_least_two()
    if doubled is not inputs:
        try:
            return doubled, trace(model, doubled)
        except TraceError:  # a batch of one is part of what this network is
            pass
    return inputs, trace(model, inputs)


def _settled_axis(interpreter: CouplingInterpreter, ids: Tensor) -> int | None:
    """The one axis along which a parameter's ids vary; a parameter with more of them, or none, stays."""
    canonical = interpreter.canonical(ids)
    axes = [axis for axis in range(ids.dim()) if bool((canonical != canonical.narrow(axis, 0, 1)).any())]
    if len(axes) == 1:
        return axes[0]
    interpreter.protect(ids)
    return None


def _protect_shared(model: nn.Module, interpreter: CouplingInterpreter) -> None:
    """What shares a weight keeps it: cut one by one they would share it no more."""
    owners: dict[int, set[str]] = {}
    for path in interpreter.layers:
        for parameter in model.get_submodule(path).parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(path)
    direct = {id(model.get_parameter(path)): path for path in interpreter.parameters}
    for path in (path for key, path in direct.items() if key in owners):
        owners[id(model.get_parameter(path))].add("")  # used by its layer and without it
        interpreter.protect(interpreter.parameters[path])
    for path in {path for paths in owners.values() if len(paths) > 1 for path in paths if path}:
        for side in (interpreter.layers[path].inputs, interpreter.layers[path].outputs):
            interpreter.protect(torch.from_numpy(side))


def _folds_into(graph: fx.Graph, layers: Mapping[str, LayerGroups]) -> dict[str, str]:
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
