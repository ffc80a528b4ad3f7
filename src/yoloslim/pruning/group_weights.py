"""All weights that a channel group makes or reads, as one thing: its norm, and its move towards zero.

To a group of channels belong the filters that give them, the weights that read them, and their BatchNorm scales.
Shifts do not: what a group gives once all its weights are zero is a constant, which a cut folds onward.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from yoloslim.errors import PruneError
from yoloslim.pruning.coupling import BoolArray, Coupling, LayerGroups
from yoloslim.pruning.operations import TRANSPOSED
from yoloslim.pruning.union import IntArray, LayerKind

MAKERS: tuple[LayerKind, ...] = ("convolution", "depthwise", "grouped", "linear", "batchnorm")
READERS: tuple[LayerKind, ...] = ("convolution", "grouped", "linear")


@dataclass(frozen=True)
class _Side:
    """One axis of a weight: the channel group of each place on it."""

    path: str
    axis: int
    groups: IntArray

    def sums(self, squares: Tensor) -> Tensor:
        """Squares added up over all other axes."""
        return squares.transpose(0, self.axis).flatten(1).sum(1) if squares.dim() > 1 else squares

    def along(self, values: Tensor, weight: Tensor) -> Tensor:
        """Values of the places, in a shape that multiplies the weight."""
        return values.view([-1 if axis == self.axis else 1 for axis in range(weight.dim())])


class GroupWeights:
    """The weights of channel groups of a network, wherever it trains.

    The norm of group k is `I_k = sqrt(mean over its slices of |w|^2 / m)`, where a slice is what one weight has for the
    group, and `m` the mean of `|w|^2` over all such slices of that weight in the network that this was made with. So
    layers of any size and fan-in count alike, and norms begin at about 1, as BatchNorm scales do.

    A weight between two groups belongs to both, and moves with each.
    """

    def __init__(self, model: nn.Module, coupling: Coupling, allowed: BoolArray) -> None:
        """Take a network.

        Args:
            model: that was traced; later methods take it or a copy.
            coupling: of its channels.
            allowed: (groups,) true where a group may go; others are left alone.

        Raises:
            PruneError: nothing may go, or a layer is a transposed convolution (named).
        """
        self.sides = [side for layer in coupling.layers.values() for side in _sides(model, layer, allowed)]
        if not self.sides:
            raise PruneError("no layer has weights of channels that may go; use another prune.scope")
        self.allowed = torch.from_numpy(allowed)
        groups = np.concatenate([side.groups for side in self.sides])
        self._groups, self._slots = torch.from_numpy(groups), torch.from_numpy(_slots(groups, coupling.groups))
        self.members = torch.from_numpy(np.bincount(groups, minlength=coupling.groups)).clamp(min=1)
        self._sizes = [len(side.groups) for side in self.sides]
        means = [sums.mean() for sums in self._slices(self._weights(model))]
        self._shares = torch.cat([(1 / m if m > 0 else m).expand(n) for m, n in zip(means, self._sizes, strict=True)])

    @torch.no_grad()
    def norms(self, model: nn.Module) -> Tensor:
        """(groups,) on the network's device; in one order of additions, so that all processes find the same."""
        weights = self._weights(model)
        self._move(weights[0].device)
        slices = torch.cat(self._slices(weights)) * self._shares
        padded = torch.cat([slices, slices.new_zeros(1)])
        return (padded[self._slots].sum(1) / self.members).sqrt()

    @torch.no_grad()
    def shrink(self, model: nn.Module, shares: Tensor) -> None:
        """Take shares (groups,) in [0, 1] off the weights of each group, where they train."""
        self._move(shares.device)
        factors = torch.split((1 - shares)[self._groups], self._sizes)
        for side, weight, values in zip(self.sides, self._weights(model), factors, strict=True):
            if weight.requires_grad:
                weight.mul_(side.along(values, weight))

    @torch.no_grad()
    def add_gradient(self, model: nn.Module, shares: Tensor) -> None:
        """Add `shares[k] * w` to the gradient of each weight of group k, where it has one."""
        self._move(shares.device)
        pulls = torch.split(shares[self._groups], self._sizes)
        for side, weight, values in zip(self.sides, self._weights(model), pulls, strict=True):
            if weight.grad is not None:
                weight.grad.addcmul_(weight, side.along(values, weight))

    def _weights(self, model: nn.Module) -> list[nn.Parameter]:
        return [cast(nn.Parameter, model.get_submodule(side.path).weight) for side in self.sides]

    def _slices(self, weights: list[nn.Parameter]) -> list[Tensor]:
        squares: dict[str, Tensor] = {}
        for side, weight in zip(self.sides, weights, strict=True):
            if side.path not in squares:
                squares[side.path] = weight.detach().float().square()
        return [side.sums(squares[side.path]) for side in self.sides]

    def _move(self, device: torch.device) -> None:
        if self._shares.device != device:
            names = ("allowed", "members", "_groups", "_slots", "_shares")
            for name in names:
                setattr(self, name, getattr(self, name).to(device))


def _sides(model: nn.Module, layer: LayerGroups, allowed: BoolArray) -> list[_Side]:
    """The axes of a layer's weight on which groups lie that may go."""
    module = model.get_submodule(layer.path)
    weight = getattr(module, "weight", None)
    found: list[_Side] = []
    if weight is None or layer.kind not in MAKERS:
        return found
    if isinstance(module, TRANSPOSED):
        raise PruneError(
            f"layer '{layer.path}': a penalty on groups does not know transposed convolutions; set sparse.penalty to "
            "slimming"
        )
    if allowed[layer.outputs].any():
        found.append(_Side(layer.path, 0, layer.outputs))
    if layer.kind in READERS and allowed[layer.inputs].any():
        found.append(_Side(layer.path, 1, layer.inputs[: weight.shape[1]]))
    return found


def _slots(groups: IntArray, count: int) -> IntArray:
    """(count, most members): where each group has its entries, filled up with the place behind the last one."""
    order = np.argsort(groups, kind="stable")
    members = np.bincount(groups, minlength=count)
    begin = np.cumsum(members) - members
    column = np.arange(len(groups)) - begin[groups[order]]
    slots = np.full((count, members.max()), len(groups), np.int64)
    slots[groups[order], column] = order
    return slots
