"""Channel labels: which channels of which layers live and die together.

Every convolution output channel gets a label. Labels travel through the traced network as abstract tensors
(`graph.py`); wherever the network needs two channels to stay aligned, their labels are unified. Unified labels
form one *channel group*, which is kept or cut as a whole. Protected groups never go: the network's inputs and
outputs, and channels whose number is hard-coded somewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from yoloslim.pruning.alignment import aligned_getitem, aligned_split, aligned_view, split_axis, varies
from yoloslim.pruning.graph import (
    AbstractInterpreter,
    Call,
    channel_vector,
    like_output,
    spread_channels,
    tensors_in,
    trace,
)
from yoloslim.pruning.residual import ResidualUnit, find_residual_units

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
LayerKind = Literal["convolution", "depthwise", "grouped", "batchnorm", "linear", "prelu"]


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
    interpreter = _LabelInterpreter(model, graph)
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


class _Sets:
    """Union-find over labels."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def fresh(self, count: int) -> IntArray:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, label: int) -> int:
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def unify(self, a: int, b: int) -> bool:
        a, b = self.find(a), self.find(b)
        self.parent[max(a, b)] = min(a, b)
        return a != b

    def numbered(self) -> tuple[int, IntArray]:
        roots = np.array([self.find(label) for label in range(len(self.parent))], np.int64)
        unique, group_of = np.unique(roots, return_inverse=True)
        return len(unique), group_of.astype(np.int64)


@dataclass
class _RawLayer:
    kind: LayerKind
    inputs: IntArray
    outputs: IntArray
    positions: float


class _LabelInterpreter(AbstractInterpreter):
    """Runs the network on int64 tensors of labels."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph)
        self.sets = _Sets()
        self.protected: set[int] = set()
        self.residual: set[int] = set()
        self.layers: dict[str, _RawLayer] = {}
        self.sums: list[fx.Node] = []

    def input_labels(self, example: tuple[int, ...]) -> Tensor:
        labels = torch.from_numpy(self.sets.fresh(example[1]))
        self.protect(labels)
        return spread_channels(labels, torch.Size(example))

    # constraints

    def protect(self, x: Tensor) -> None:
        self.protected.update(torch.unique(x).tolist())

    def tie(self, a: Tensor, b: Tensor) -> set[int]:
        """Unify elementwise; gives the labels that were not one group before."""
        a, b = _broadcast(a, b)
        pairs = set(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
        return {p for p, q in pairs if self.sets.unify(p, q)}

    def tie_along(self, x: Tensor, axis: int) -> None:
        self.tie(x, x.narrow(axis, 0, 1))

    # layers with weights

    def convolution(self, call: Call) -> Tensor:
        module, x = cast(nn.Conv2d, call.module), call.tensor()
        vector = channel_vector(x, call.node)
        groups = module.groups
        if groups > 1 and groups == module.in_channels:
            kind: LayerKind = "depthwise"
            labels = vector.repeat_interleave(module.out_channels // groups)
        else:
            kind = "grouped" if groups > 1 else "convolution"
            labels = self._own_labels(call, module.out_channels)
        if kind == "grouped":
            self.tie_along(vector.view(groups, -1), 0)
            self.tie_along(labels.view(groups, -1), 0)
        out = like_output(labels, call, x)
        self._record(call, kind, vector, labels, out[0, 0].numel())
        return out

    def linear(self, call: Call) -> Tensor:
        module, x = cast(nn.Linear, call.module), call.tensor()
        vector = channel_vector(x.movedim(-1, 1), call.node)
        labels = self._own_labels(call, module.out_features)
        self._record(call, "linear", vector, labels, x[0, ..., 0].numel())
        return labels.expand(*x.shape[:-1], -1)

    def batchnorm(self, call: Call) -> Tensor:
        x = call.tensor()
        vector = channel_vector(x, call.node)
        self._record(call, "batchnorm", vector, vector, 0)
        return x

    def prelu(self, call: Call) -> Tensor:
        x = call.tensor()
        if cast(nn.PReLU, call.module).num_parameters > 1:
            vector = channel_vector(x, call.node)
            self._record(call, "prelu", vector, vector, 0)
        return x

    def _own_labels(self, call: Call, count: int) -> Tensor:
        known = self.layers.get(str(call.node.target))
        return torch.from_numpy(known.outputs if known else self.sets.fresh(count))

    def _record(self, call: Call, kind: LayerKind, inputs: Tensor, outputs: Tensor, positions: int) -> None:
        """Remember a layer's channels; a layer called twice is cut once, so that its calls are tied."""
        path = str(call.node.target)
        known = self.layers.get(path)
        if known is None:
            self.layers[path] = _RawLayer(kind, inputs.numpy(), outputs.numpy(), positions)
            return
        self.tie(torch.from_numpy(known.inputs), inputs)
        self.tie(torch.from_numpy(known.outputs), outputs)
        known.positions += positions

    # operations without weights

    def unary(self, call: Call) -> Tensor:
        return call.tensor()

    def spatial(self, call: Call) -> Tensor:
        x = call.tensor()
        return like_output(channel_vector(x, call.node), call, x)

    def binary(self, call: Call) -> Tensor:
        a, *rest = tensors_in((call.args, call.kwargs))
        if not rest:
            return a
        b = rest[0]
        if _is_broadcast(a, b) or _is_broadcast(b, a):
            few, many = (a, b) if _is_broadcast(a, b) else (b, a)
            self.protect(few)
            return _broadcast(few, many)[1]
        newly_tied = self.tie(a, b)
        if _is_sum(call.node):
            self.residual |= newly_tied
            self.sums.append(call.node)
        return _broadcast(a, b)[0]

    def reduce(self, call: Call) -> Tensor:
        x = call.tensor()
        dims = call.argument(1, "dim")
        axes = [dims] if isinstance(dims, int) else list(dims or range(x.dim()))
        if any(varies(x, axis) for axis in axes):
            return cast(Tensor, self.mix(call))
        return torch.amax(x, axes, keepdim=bool(call.argument(2, "keepdim", False)))

    def mix(self, call: Call) -> Any:
        """Operations in which every output needs every channel: nothing before them may go."""
        x = call.tensor()
        self.protect(x)
        anything = torch.from_numpy(self.sets.fresh(1))
        self.protect(anything)
        outputs = call.run(torch.zeros(x.shape), *call.args[1:], **call.kwargs)
        spread = [anything.expand(o.shape) for o in tensors_in((outputs,))]
        return spread[0] if isinstance(outputs, Tensor) else tuple(spread)

    def squeeze(self, call: Call) -> Any:
        if call.argument(1, "dim") is None:  # would also drop the channel axis of a single surviving channel
            self.protect(call.tensor())
        return call.native()

    def view(self, call: Call) -> Any:
        return aligned_view(self, call)

    def split(self, call: Call) -> Any:
        return aligned_split(self, call)

    def getitem(self, call: Call) -> Any:
        return aligned_getitem(self, call)

    def shuffle(self, call: Call) -> Any:
        x = call.tensor()
        groups = getattr(call.module, "groups", None) or call.argument(1, "groups")
        self.tie_along(split_axis(x, 1, x.shape[1] // groups), 1)
        return call.native()

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Parameters used directly have a size of their own: what they meet stays."""
        value = super().get_attr(target, args, kwargs)
        if not isinstance(value, Tensor):
            return value
        labels = torch.from_numpy(self.sets.fresh(value.numel())).view(value.shape)
        self.protect(labels)
        return labels

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        for x in tensors_in(args):
            self.protect(x)
        return super().output(target, args, kwargs)


def _broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    return a, b


def _is_broadcast(a: Tensor, b: Tensor) -> bool:
    """Whether one element of `a` meets several channels of `b`."""
    a = a.view(*(1,) * (b.dim() - a.dim()), *a.shape)
    axes = range(-min(a.dim(), b.dim()), 0)
    return any(a.shape[i] == 1 and b.shape[i] > 1 and varies(b, i) for i in axes)


def _is_sum(node: fx.Node) -> bool:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.strip("_") in ("add", "iadd", "sub", "isub")
