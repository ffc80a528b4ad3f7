"""The network, run on int64 tensors of channel ids."""

from typing import Any, cast

import torch
from torch import Tensor, fx

from yoloslim.pruning import contraction
from yoloslim.pruning.alignment import (
    aligned_expand,
    aligned_getitem,
    aligned_split,
    aligned_view,
    split_axis,
)
from yoloslim.pruning.coupler import broadcast
from yoloslim.pruning.graph import Call
from yoloslim.pruning.graph_writer import pick
from yoloslim.pruning.inputs import tensors_in
from yoloslim.pruning.layer_coupler import LayerCoupler
from yoloslim.pruning.operations import describe


class CouplingInterpreter(LayerCoupler):
    """Runs a network on int64 tensors of ids: here, the operations without weights."""

    def unary(self, call: Call) -> Tensor:
        """Ids pass."""
        return call.tensor()

    def constant(self, call: Call) -> Tensor:
        """As large as what it is like, and so of as many channels."""
        x = call.tensor()
        if x.shape == call.shape:
            return x
        return self.solid().expand(call.shape)

    def spatial(self, call: Call) -> Any:
        """Ids pass, positions change."""
        x = call.tensor()
        if any(self.varies(x, axis) for axis in range(2, x.dim())):
            return self.mix(call)
        return self._resized(call, x)

    def pad(self, call: Call) -> Any:
        """Ids pass, unless it is channels that are added."""
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
            return broadcast(a, b)[0]
        if _is_broadcast(a, b) or _is_broadcast(b, a):
            few, many = (a, b) if _is_broadcast(a, b) else (b, a)
            self.protect(few)
            # a silent channel times anything is silent, but no sum is; a constant says nothing of channels
            if call.name not in ("mul", "imul") and not bool((few == self.solid()).all()):
                self.protect(many)
            return broadcast(few, many)[1]
        newly_coupled = self.couple(a, b)
        if call.name in ("add", "iadd", "sub", "isub"):
            self.residual |= newly_coupled
            self.sums.append(call.node)
        return broadcast(a, b)[0]

    def reduce(self, call: Call) -> Any:
        """Ids pass when space is reduced; a reduction of channels needs them all."""
        x = call.tensor()
        first = 2 if call.name in ("norm", "linalg_vector_norm") else 1
        dims = call.argument(first, "dim")
        axes = [dims] if isinstance(dims, int) else list(dims or range(x.dim()))
        if any(self.varies(x, axis) for axis in axes):
            return self.mix(call)
        return torch.amax(x, axes, keepdim=bool(call.argument(first + 1, "keepdim", False)))

    def along(self, call: Call) -> Any:
        """Ids pass, unless it works along the channels."""
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
            self.couple(first, other)
        return cast(Tensor, call.native())

    def move(self, call: Call) -> Any:
        """Ids move; what is concatenated must agree along the other axes."""
        if call.name in ("cat", "concat"):
            first, *others = (x for x in tensors_in((call.args, call.kwargs)) if x.numel())
            axis = call.argument(1, "dim", 0)
            for other in others:
                if any(self.varies(x, i) for x in (first, other) for i in range(x.dim()) if i != axis % x.dim()):
                    self.couple(first.narrow(axis, 0, 1), other.narrow(axis, 0, 1))
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
        self.couple_along(split_axis(x, 1, x.shape[1] // groups), 1)
        return call.native()

    def pixels(self, call: Call) -> Any:
        """Channels that become positions go together."""
        x, factor = call.tensor(), int(call.argument(1, "upscale_factor", call.kwargs.get("downscale_factor")))
        if call.name == "pixel_shuffle":
            self.couple_along(split_axis(x, 1, factor * factor), 2)
        return call.native()

    def matmul(self, call: Call) -> Any:
        """See `contraction`."""
        return contraction.matmul(self, call)

    def dot_product(self, call: Call) -> Any:
        """See `contraction`."""
        return contraction.dot_product(self, call)

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Parameters that the network uses directly have ids of their own; constants have none."""
        meta = self.node.meta
        if meta["parameter"] is None or meta["value"].numel() == 1:
            return everywhere(self.solid(), self.node)
        if target not in self.parameters:
            count = meta["value"].numel()
            self.parameters[target] = torch.from_numpy(self.sets.fresh(count)).view(meta["shape"])
        return self.parameters[target]

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        """What leaves the network stays."""
        for x in tensors_in(args):
            self.protect(x)
        return super().output(target, args, kwargs)


def everywhere(channel: Tensor, node: fx.Node) -> Any:
    """One id for all that a node gives: a tensor, or its parts by their keys."""
    if "shape" in node.meta:
        return channel.reshape(()).expand(node.meta["shape"])
    return {part.args[1]: everywhere(channel, part) for part in node.users if part.target is pick}


def _is_broadcast(a: Tensor, b: Tensor) -> bool:
    """Whether one element of `a` meets several channels of `b`."""
    a = a.view(*(1,) * (b.dim() - a.dim()), *a.shape)
    axes = range(-min(a.dim(), b.dim()), 0)
    return any(a.shape[i] == 1 and b.shape[i] > 1 and bool((b != b.narrow(i, 0, 1)).any()) for i in axes)
