"""Weights of layers that make channels, in one order of axes."""

from typing import cast

from torch import Tensor, nn

from yoloslim.pruning.operations import TRANSPOSED


def outputs_first(module: nn.Module) -> Tensor:
    """The weight of a layer as (outputs, inputs of a group, ...), whatever order it is stored in."""
    weight = cast(Tensor, module.weight)
    if isinstance(module, nn.Embedding):
        return weight.T
    return _swapped(weight, module.groups) if isinstance(module, TRANSPOSED) else weight


def as_stored(module: nn.Module, weight: Tensor) -> Tensor:
    """Undo `outputs_first`."""
    if isinstance(module, nn.Embedding):
        return weight.T
    return _swapped(weight, module.groups) if isinstance(module, TRANSPOSED) else weight


def _swapped(weight: Tensor, groups: int) -> Tensor:
    """(groups * a, b, ...) as (groups * b, a, ...)."""
    a, b = len(weight) // groups, weight.shape[1]
    return weight.reshape(groups, a, b, *weight.shape[2:]).transpose(1, 2).flatten(0, 1)
