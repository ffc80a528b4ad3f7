"""Label propagation: the network, run on int64 tensors of channel labels."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from yoloslim.pruning import contraction
from yoloslim.pruning.alignment import (
    aligned_expand,
    aligned_getitem,
    aligned_split,
    aligned_view,
    line,
    split_axis,
)
from yoloslim.pruning.graph import AbstractInterpreter, Call, spread_channels, uniform_vector
from yoloslim.pruning.inputs import Inputs, tensors_in
from yoloslim.pruning.operations import INSTANCENORMS, describe
from yoloslim.pruning.recorder import Dim, pick
from yoloslim.pruning.union import IntArray, LabelSets, LayerKind


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
        self.parameters: dict[str, Tensor] = {}
        self.sums: list[fx.Node] = []
        self.kept: list[str] = []
        self.batch = 1
        self.lines: dict[tuple[fx.Node, int], Tensor] = {}
        self._solid: Tensor | None = None

    def read(self, inputs: Inputs) -> None:
        """Label everything, from the inputs on, which nothing may remove."""
        self.batch = len(inputs.tensors[0])
        given = torch.from_numpy(self.sets.fresh(1))
        self.protect(given)
        self.run(*((given if x.is_floating_point() else self.solid()).expand(x.shape) for x in inputs.tensors))

    def run_node(self, n: fx.Node) -> Any:
        """Interpret one node; a channel count that the network calculates with must not change."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            for axis in n.meta.get("counted", ()):
                if self.varies(result, axis):
                    self.protect(result)
            for axis in n.meta.get("sized", ()):
                self.lines[n, axis] = line(result, axis)
        return result

    def _dispatch(self, call: Call) -> Any:
        result = super()._dispatch(call)
        if not READERS.intersection((call.name,)):
            for size in _dims_in((call.args, call.kwargs)):
                if (count := self.counted(size)) is not None:
                    self.protect(count)
        return result

    # constraints

    def solid(self) -> Tensor:
        """The one label, of shape (1,), of whatever does not depend on channels; nothing may remove it."""
        if self._solid is None:
            self._solid = torch.from_numpy(self.sets.fresh(1))
            self.protect(self._solid)
        return self._solid

    def protect(self, x: Tensor) -> None:
        """These labels never go."""
        self.protected.update(torch.unique(x).tolist())

    def tie(self, a: Tensor, b: Tensor) -> set[int]:
        """Unify elementwise; gives the labels that were not one group before."""
        a, b = _broadcast(a, b)
        return {p for p, q in _pairs(a, b).T.tolist() if self.sets.unify(p, q)}

    def tie_along(self, x: Tensor, axis: int) -> None:
        """Labels that differ only in their place on one axis go together."""
        self.tie(x, x.narrow(axis, 0, 1))

    def canonical(self, x: Tensor) -> Tensor:
        """Each label as the one that stands for its group."""
        unique, places = torch.unique(x, return_inverse=True)
        return torch.tensor([self.sets.find(label) for label in unique.tolist()])[places]

    def varies(self, x: Tensor, axis: int) -> bool:
        """Whether labels of different groups stand along an axis, as they do along the one that holds channels."""
        if bool((x == x.narrow(axis, 0, 1)).all()):
            return False
        x = self.canonical(x)
        return bool((x != x.narrow(axis, 0, 1)).any())

    def counted(self, size: Any) -> Tensor | None:
        """Labels (n,) of the channels that a size counts; None if it counts none, or is a number in the code."""
        labels = size if isinstance(size, Tensor) else None
        if isinstance(size, Dim) and size.source is not None:
            labels = self.lines.get(size.source)
        return labels if labels is not None and self.varies(labels, 0) else None

    def channels(self, x: Tensor, axis: int = 1) -> Tensor:
        """Labels along an axis whose weights are shared by all positions, which they tie."""
        x = x.movedim(axis, 1) if x.dim() > 1 else x[None]
        vector, same = uniform_vector(x)
        if not same:
            self.tie(x, spread_channels(vector, x.shape))
        return vector

    # layers with weights

    def convolution(self, call: Call) -> Tensor:
        """New labels; a depthwise convolution passes its input's on, a grouped one ties its groups."""
        module, x = cast(nn.Conv2d, call.module), call.tensor()
        vector = self.channels(x)
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
        self._record(call, kind, vector, labels, self._positions(call, 1))
        return spread_channels(labels, call.shape)

    def linear(self, call: Call) -> Tensor:
        """New labels for the last axis; along any other, a linear layer works on each channel by itself."""
        module, x = cast(nn.Linear, call.module), call.tensor()
        if self._elsewhere(x):
            inputs, outputs = (self.solid().expand(n) for n in (module.in_features, module.out_features))
            self._record(call, "linear", inputs, outputs, self._positions(call, -1))
            return x.narrow(-1, 0, 1).expand(call.shape)
        vector = self.channels(x, -1)
        labels = self._own_labels(call, module.out_features)
        self._record(call, "linear", vector, labels, self._positions(call, -1))
        return labels.expand(call.shape)

    def embedding(self, call: Call) -> Tensor:
        """New labels for the last axis; the table keeps its entries."""
        labels = self._own_labels(call, cast(nn.Embedding, call.module).embedding_dim)
        self._record(call, "embedding", labels, labels, 0)
        return labels.expand(call.shape)

    def batchnorm(self, call: Call) -> Tensor:
        """Labels pass."""
        vector = self.channels(call.tensor())
        self._record(call, "instancenorm" if isinstance(call.module, INSTANCENORMS) else "batchnorm", vector, vector, 0)
        return spread_channels(vector, call.shape)

    def layernorm(self, call: Call) -> Tensor:
        """Labels pass; the statistics are then those of the channels that stay."""
        x, shape = call.tensor(), cast(nn.LayerNorm, call.module).normalized_shape
        if len(shape) > 1 or self._elsewhere(x):
            if any(self.varies(x, axis) for axis in range(-len(shape), 0)):
                self.protect(x)
            return x
        vector = self.channels(x, -1)
        self._record(call, "layernorm", vector, vector, 0)
        return vector.expand(call.shape)

    def groupnorm(self, call: Call) -> Tensor:
        """Labels pass; corresponding channels of all groups go together, so that groups stay of one size."""
        vector, groups = self.channels(call.tensor()), cast(nn.GroupNorm, call.module).num_groups
        if 1 < groups < len(vector):
            self.tie_along(vector.view(groups, -1), 0)
        self._record(call, "groupnorm", vector, vector, 0)
        return spread_channels(vector, call.shape)

    def prelu(self, call: Call) -> Tensor:
        """Labels pass; slopes may be per channel."""
        x = call.tensor()
        if cast(nn.PReLU, call.module).num_parameters > 1:
            vector = self.channels(x)
            self._record(call, "prelu", vector, vector, 0)
        return x

    def parts(self, call: Call) -> tuple[Tensor, ...]:
        """Labels pass; each part has a width of its own, as if it were a layer."""
        parts = cast(tuple[Tensor, ...], call.native())
        for number, part in enumerate(parts):
            vector = self.channels(part)
            self._record_at(f"{call.node.target}.{number}", "part", vector, vector, 0)
        return parts

    def attention(self, call: Call) -> tuple[Tensor, Tensor]:
        """Attention over positions: its heads stay whole, so that nothing that it reads may go."""
        self.protect(call.tensor())
        return super().attention(call)

    def _elsewhere(self, x: Tensor) -> bool:
        """Whether labels vary, but not along the last axis."""
        return not self.varies(x, -1) and any(self.varies(x, axis) for axis in range(x.dim() - 1))

    def _positions(self, call: Call, axis: int) -> float:
        return call.shape.numel() / call.shape[axis] / self.batch

    def _own_labels(self, call: Call, count: int) -> Tensor:
        """Labels of a layer's outputs, the same ones if the layer is called again."""
        known = self.layers.get(str(call.node.target))
        return torch.from_numpy(self.sets.fresh(count) if known is None else known.outputs)

    def _record(self, call: Call, kind: LayerKind, inputs: Tensor, outputs: Tensor, positions: float) -> None:
        self._record_at(str(call.node.target), kind, inputs, outputs, positions)

    def _record_at(self, path: str, kind: LayerKind, inputs: Tensor, outputs: Tensor, positions: float) -> None:
        known = self.layers.get(path)
        if known is None:
            self.layers[path] = RawLayer(kind, inputs.numpy().copy(), outputs.numpy().copy(), positions)
            return
        self.tie(torch.from_numpy(known.inputs), inputs)
        self.tie(torch.from_numpy(known.outputs), outputs)
        known.positions += positions

    # operations without weights

    def unary(self, call: Call) -> Tensor:
        """Labels pass."""
        return call.tensor()

    def constant(self, call: Call) -> Tensor:
        """As large as what it is like, and so of as many channels."""
        x = call.tensor()
        if x.shape == call.shape:
            return x
        return self.solid().expand(call.shape)

    def spatial(self, call: Call) -> Any:
        """Labels pass, positions change."""
        x = call.tensor()
        if any(self.varies(x, axis) for axis in range(2, x.dim())):
            return self.mix(call)
        return self._resized(call, x)

    def pad(self, call: Call) -> Any:
        """Labels pass, unless it is channels that are added."""
        x, sizes = call.tensor(), call.argument(1, "pad")
        padded = [-1 - i for i in range(len(sizes) // 2) if sizes[2 * i] or sizes[2 * i + 1]]
        return self.mix(call) if any(self.varies(x, axis) for axis in padded) else self._resized(call, x)

    def _resized(self, call: Call, x: Tensor) -> Any:
        changed = [axis for axis in range(x.dim()) if x.shape[axis] != call.shape[axis]]
        if any(self.varies(x, axis) for axis in changed):
            return self.mix(call)
        for axis in changed:
            x = x.narrow(axis, 0, 1)
        return x.expand(call.shape)

    def binary(self, call: Call) -> Tensor:
        """Elementwise: what meets goes together."""
        joined, *others = tensors_in((call.args, call.kwargs))
        for other in others:
            joined = self.join(joined, other, call)
        return joined

    def join(self, a: Tensor, b: Tensor, call: Call) -> Tensor:
        """Two tensors that meet elementwise."""
        if _is_broadcast(a, b) and _is_broadcast(b, a):
            self.protect(a)
            self.protect(b)
            return _broadcast(a, b)[0]
        if _is_broadcast(a, b) or _is_broadcast(b, a):
            few, many = (a, b) if _is_broadcast(a, b) else (b, a)
            self.protect(few)
            # a silent channel times anything is silent, but no sum is; a constant says nothing of channels
            if call.name not in ("mul", "imul") and not bool((few == self.solid()).all()):
                self.protect(many)
            return _broadcast(few, many)[1]
        newly_tied = self.tie(a, b)
        if call.name in ("add", "iadd", "sub", "isub"):
            self.residual |= newly_tied
            self.sums.append(call.node)
        return _broadcast(a, b)[0]

    def reduce(self, call: Call) -> Any:
        """Labels pass when space is reduced; a reduction of channels needs them all."""
        x = call.tensor()
        first = 2 if call.name in ("norm", "linalg_vector_norm") else 1
        dims = call.argument(first, "dim")
        axes = [dims] if isinstance(dims, int) else list(dims or range(x.dim()))
        if any(self.varies(x, axis) for axis in axes):
            return self.mix(call)
        return torch.amax(x, axes, keepdim=bool(call.argument(first + 1, "keepdim", False)))

    def along(self, call: Call) -> Any:
        """Labels pass, unless it works along the channels."""
        x, position = call.tensor(), 2 if call.name in ("roll", "normalize") else 1
        dims = getattr(call.module, "dim", None) if call.module else call.argument(position, "dim")
        dims = call.kwargs.get("dims", 1 if call.name == "normalize" else None) if dims is None else dims
        axes = [dims] if isinstance(dims, int) else list(dims or range(x.dim()))
        return self.mix(call) if any(self.varies(x, axis) for axis in axes) else x

    def mix(self, call: Call) -> Any:
        """Operations in which every output needs every channel: nothing before them may go."""
        for x in tensors_in((call.args, call.kwargs)):
            self.protect(x)
        if call.node in self.varying:
            self.kept.append(describe(call.node))
        anything = torch.from_numpy(self.sets.fresh(1))
        self.protect(anything)
        return everywhere(anything, call.node)

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

    def move(self, call: Call) -> Any:
        """Labels move; what is concatenated must agree along the other axes."""
        if call.name in ("cat", "concat"):
            first, *others = (x for x in tensors_in((call.args, call.kwargs)) if x.numel())
            axis = call.argument(1, "dim", 0)
            for other in others:
                if any(self.varies(x, i) for x in (first, other) for i in range(x.dim()) if i != axis % x.dim()):
                    self.tie(first.narrow(axis, 0, 1), other.narrow(axis, 0, 1))
        return call.native()

    def view(self, call: Call) -> Any:
        """See `alignment`."""
        return aligned_view(self, call)

    def expand(self, call: Call) -> Any:
        """See `alignment`."""
        return aligned_expand(self, call)

    def split(self, call: Call) -> Any:
        """See `alignment`."""
        return aligned_split(self, call)

    def getitem(self, call: Call) -> Any:
        """See `alignment`."""
        return aligned_getitem(self, call)

    def setitem(self, call: Call) -> Tensor:
        """What is written into, and what is written, stays."""
        for x in tensors_in((call.args, call.kwargs)):
            self.protect(x)
        return call.tensor()

    def shuffle(self, call: Call) -> Any:
        """Corresponding channels of all groups go together."""
        x = call.tensor()
        groups = getattr(call.module, "groups", None) or call.argument(1, "groups")
        self.tie_along(split_axis(x, 1, x.shape[1] // groups), 1)
        return call.native()

    def pixels(self, call: Call) -> Any:
        """Channels that become positions go together."""
        x, factor = call.tensor(), int(call.argument(1, "upscale_factor", call.kwargs.get("downscale_factor")))
        if call.name == "pixel_shuffle":
            self.tie_along(split_axis(x, 1, factor * factor), 2)
        return call.native()

    def matmul(self, call: Call) -> Any:
        """See `contraction`."""
        return contraction.matmul(self, call)

    def dot_product(self, call: Call) -> Any:
        """See `contraction`."""
        return contraction.dot_product(self, call)

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Parameters that the network uses directly have labels of their own; constants have none."""
        meta = self.node.meta
        if meta["parameter"] is None or meta["value"].numel() == 1:
            return self.solid().expand(meta["shape"])
        if target not in self.parameters:
            count = meta["value"].numel()
            self.parameters[target] = torch.from_numpy(self.sets.fresh(count)).view(meta["shape"])
        return self.parameters[target]

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        """What leaves the network stays."""
        for x in tensors_in(args):
            self.protect(x)
        return super().output(target, args, kwargs)


READERS = frozenset(("view", "reshape", "unflatten", "expand", "broadcast_to", "split", "split_with_sizes"))
"""Operations whose rules look at where their sizes come from; anywhere else such a size must not change."""


def _dims_in(value: Any) -> list[Dim]:
    if isinstance(value, Dim):
        return [value]
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, dict):
        value = list(value.values())
    return [dim for item in value for dim in _dims_in(item)] if isinstance(value, list | tuple) else []


def everywhere(label: Tensor, node: fx.Node) -> Any:
    """One label for all that a node gives: a tensor, or its parts by their keys."""
    if "shape" in node.meta:
        return label.expand(node.meta["shape"])
    return {part.args[1]: everywhere(label, part) for part in node.users if part.target is pick}


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    """The different pairs of labels that meet, as (2, pairs)."""
    a, b = a.flatten(), b.flatten()
    base = int(b.max()) + 1
    codes = torch.unique(a * base + b)
    return torch.stack((codes // base, codes % base))


def _broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    return a, b


def _is_broadcast(a: Tensor, b: Tensor) -> bool:
    """Whether one element of `a` meets several channels of `b`."""
    a = a.view(*(1,) * (b.dim() - a.dim()), *a.shape)
    axes = range(-min(a.dim(), b.dim()), 0)
    return any(a.shape[i] == 1 and b.shape[i] > 1 and bool((b != b.narrow(i, 0, 1)).any()) for i in axes)
