"""Label propagation: the network, run on int64 tensors of channel labels."""

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
    name_of,
    spread_channels,
    tensors_in,
)

IntArray = NDArray[np.int64]
LayerKind = Literal["convolution", "depthwise", "grouped", "batchnorm", "linear", "prelu", "part"]


class LabelSets:
    """Union-find over labels: int64 numbers 0, 1, 2, ..."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def fresh(self, count: int) -> IntArray:
        """New labels (count,), each in a group of its own."""
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, label: int) -> int:
        """The label that stands for a label's group."""
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def unify(self, a: int, b: int) -> bool:
        """Make two labels one group; tells whether they were two."""
        a, b = self.find(a), self.find(b)
        self.parent[max(a, b)] = min(a, b)
        return a != b

    def numbered(self) -> tuple[int, IntArray]:
        """Number of groups, and the group 0..n-1 of each label."""
        roots = np.array([self.find(label) for label in range(len(self.parent))], np.int64)
        unique, group_of = np.unique(roots, return_inverse=True)
        return len(unique), group_of.astype(np.int64)


@dataclass
class RawLayer:
    """Labels of one layer while the network is still being read; see `labels.LayerLabels`."""

    kind: LayerKind
    inputs: IntArray
    outputs: IntArray
    positions: float


class LabelInterpreter(AbstractInterpreter):
    """Runs the network on int64 tensors of labels."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph)
        self.sets = LabelSets()
        self.protected: set[int] = set()
        self.residual: set[int] = set()
        self.layers: dict[str, RawLayer] = {}
        self.sums: list[fx.Node] = []

    def input_labels(self, example: tuple[int, ...]) -> Tensor:
        """Labels of the network's input, which nothing may remove."""
        labels = torch.from_numpy(self.sets.fresh(example[1]))
        self.protect(labels)
        return spread_channels(labels, torch.Size(example))

    # constraints

    def protect(self, x: Tensor) -> None:
        """These labels never go."""
        self.protected.update(torch.unique(x).tolist())

    def tie(self, a: Tensor, b: Tensor) -> set[int]:
        """Unify elementwise; gives the labels that were not one group before."""
        a, b = _broadcast(a, b)
        pairs = set(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
        return {p for p, q in pairs if self.sets.unify(p, q)}

    def tie_along(self, x: Tensor, axis: int) -> None:
        """Labels that differ only in their place on one axis go together."""
        self.tie(x, x.narrow(axis, 0, 1))

    # layers with weights

    def convolution(self, call: Call) -> Tensor:
        """New labels; a depthwise convolution passes its input's on, a grouped one ties its groups."""
        module, x = cast(nn.Conv2d, call.module), call.tensor()
        vector = channel_vector(x, call.node)
        groups = module.groups
        if isinstance(module, nn.ConvTranspose2d) and groups > 1:
            return self.fixed(call)
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

    def fixed(self, call: Call) -> Tensor:
        """A layer that is left as it is: what it reads and what it gives stays."""
        x, module = call.tensor(), call.module
        self.protect(x)
        width = module.out_channels if isinstance(module, nn.ConvTranspose2d) else x.shape[1]
        labels = torch.from_numpy(self.sets.fresh(width))
        self.protect(labels)
        return like_output(labels, call, x)

    def linear(self, call: Call) -> Tensor:
        """New labels for the last axis."""
        module, x = cast(nn.Linear, call.module), call.tensor()
        vector = channel_vector(x.movedim(-1, 1), call.node)
        labels = self._own_labels(call, module.out_features)
        self._record(call, "linear", vector, labels, x[0, ..., 0].numel())
        return labels.expand(*x.shape[:-1], -1)

    def batchnorm(self, call: Call) -> Tensor:
        """Labels pass."""
        x = call.tensor()
        vector = channel_vector(x, call.node)
        self._record(call, "batchnorm", vector, vector, 0)
        return x

    def prelu(self, call: Call) -> Tensor:
        """Labels pass; slopes may be per channel."""
        x = call.tensor()
        if cast(nn.PReLU, call.module).num_parameters > 1:
            vector = channel_vector(x, call.node)
            self._record(call, "prelu", vector, vector, 0)
        return x

    def parts(self, call: Call) -> tuple[Tensor, ...]:
        """Labels pass; each part has a width of its own, as if it were a layer."""
        parts = cast(tuple[Tensor, ...], call.native())
        for number, part in enumerate(parts):
            vector = channel_vector(part, call.node)
            self._record_at(f"{call.node.target}.{number}", "part", vector, vector, 0)
        return parts

    def attention(self, call: Call) -> tuple[Tensor, Tensor]:
        """Heads stay whole: what attention reads, and so what it gives, stays."""
        self.protect(call.tensor())
        return super().attention(call)

    def _own_labels(self, call: Call, count: int) -> Tensor:
        known = self.layers.get(str(call.node.target))
        return torch.from_numpy(known.outputs if known else self.sets.fresh(count))

    def _record(self, call: Call, kind: LayerKind, inputs: Tensor, outputs: Tensor, positions: int) -> None:
        """Remember a layer's channels; a layer called twice is cut once, so that its calls are tied."""
        self._record_at(str(call.node.target), kind, inputs, outputs, positions)

    def _record_at(self, path: str, kind: LayerKind, inputs: Tensor, outputs: Tensor, positions: int) -> None:
        known = self.layers.get(path)
        if known is None:
            self.layers[path] = RawLayer(kind, inputs.numpy(), outputs.numpy(), positions)
            return
        self.tie(torch.from_numpy(known.inputs), inputs)
        self.tie(torch.from_numpy(known.outputs), outputs)
        known.positions += positions

    # operations without weights

    def unary(self, call: Call) -> Tensor:
        """Labels pass."""
        return call.tensor()

    def spatial(self, call: Call) -> Tensor:
        """Labels pass, positions change."""
        x = call.tensor()
        return like_output(channel_vector(x, call.node), call, x)

    def binary(self, call: Call) -> Tensor:
        """Elementwise: what meets goes together."""
        a, *rest = tensors_in((call.args, call.kwargs))
        if not rest:
            return a
        b = rest[0]
        if _is_broadcast(a, b) or _is_broadcast(b, a):
            few, many = (a, b) if _is_broadcast(a, b) else (b, a)
            self.protect(few)
            if name_of(call.node) not in ("mul", "imul"):  # a silent channel times anything is silent, but no sum is
                self.protect(many)
            return _broadcast(few, many)[1]
        newly_tied = self.tie(a, b)
        if name_of(call.node) in ("add", "iadd", "sub", "isub"):
            self.residual |= newly_tied
            self.sums.append(call.node)
        return _broadcast(a, b)[0]

    def reduce(self, call: Call) -> Tensor:
        """Labels pass when space is reduced; a reduction of channels needs them all."""
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
        """Only where the axis is named."""
        if call.argument(1, "dim") is None:  # would also drop the channel axis of a single surviving channel
            self.protect(call.tensor())
        return call.native()

    def stack(self, call: Call) -> Tensor:
        """What is stacked must stay of one size."""
        first, *others = tensors_in((call.args, call.kwargs))
        for other in others:
            self.tie(first, other)
        return cast(Tensor, call.native())

    def view(self, call: Call) -> Any:
        """See `alignment`."""
        return aligned_view(self, call)

    def split(self, call: Call) -> Any:
        """See `alignment`."""
        return aligned_split(self, call)

    def getitem(self, call: Call) -> Any:
        """See `alignment`."""
        return aligned_getitem(self, call)

    def shuffle(self, call: Call) -> Any:
        """Corresponding channels of all groups go together."""
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
        """What leaves the network stays."""
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
