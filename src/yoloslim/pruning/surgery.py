"""Cut channels out of a network: index selection on weights, nothing else."""

import copy
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector
from yoloslim.models.split_blocks import Part
from yoloslim.pruning.coupling import BoolArray, Coupling, LayerGroups
from yoloslim.pruning.folding import fold_constants
from yoloslim.pruning.operations import BATCHNORMS, CONVOLUTIONS, INSTANCENORMS, LAYERNORMS, TRANSPOSED

M = TypeVar("M", bound=nn.Module)


def copy_model(model: M) -> M:
    """A deep copy of a network that shares its (frozen) spec, which takes longer to copy than the weights."""
    spec = getattr(model, "spec", None)
    return copy.deepcopy(model, {id(spec): spec})


def cut(model: M, coupling: Coupling, keep: BoolArray, *, fold: bool = False) -> M:
    """A smaller copy of the network; the input is unchanged.

    Args:
        model: the network that was traced. A `Detector` also gets the new widths in its spec.
        coupling: of its channels.
        keep: (groups,) true for channel groups that stay.
        fold: first fold what removed channels give, act(beta), into what reads them (`folding.py`).

    Raises:
        PruneError: the mask removes a protected group or all channels of a layer, which the message names.
    """
    check_mask(coupling, keep)
    small = copy_model(model)
    if fold:
        fold_constants(small, coupling, keep)
    for layer in coupling.layers.values():
        _resize(small.get_submodule(layer.path), layer, keep)
    for parameter in coupling.parameters.values():
        if parameter.axis is not None:
            owner, _, name = parameter.path.rpartition(".")
            _select(small.get_submodule(owner), name, np.flatnonzero(keep[parameter.outputs]), parameter.axis)
    if isinstance(small, Detector):
        gained = (path for path in coupling.layers if _has_bias(small, path) and not _has_bias(model, path))
        update = {"widths": _widths(small), "biased": (*small.spec.biased, *gained)}
        small.spec = small.spec.model_copy(update=update)
    return small


def check_mask(coupling: Coupling, keep: BoolArray) -> None:
    """Refuse masks that no network could run with.

    Raises:
        PruneError: see `cut`.
    """
    if keep.shape != (coupling.groups,):
        raise PruneError(f"the mask has shape {keep.shape}, the network {coupling.groups} channel groups")
    for path, layer in coupling.layers.items():
        for side, groups in (("input", layer.inputs), ("output", layer.outputs)):
            if (coupling.protected[groups] & ~keep[groups]).any():
                raise PruneError(f"layer '{path}': the mask removes {side} channels that are protected; keep them")
            if not keep[groups].any():
                raise PruneError(
                    f"layer '{path}': the mask removes all {len(groups)} {side} channels; keep at least one"
                )


def _resize(module: nn.Module, layer: LayerGroups, keep: BoolArray) -> None:
    rows, columns = np.flatnonzero(keep[layer.outputs]), np.flatnonzero(keep[layer.inputs])
    for name in ("bias", "running_mean", "running_var"):
        _select(module, name, rows)
    if isinstance(module, nn.Embedding):
        _select(module, "weight", rows, axis=1)
        module.embedding_dim = len(rows)
    elif isinstance(module, TRANSPOSED):  # its weight is (inputs, outputs / groups, ...)
        _select(module, "weight", columns)
        if layer.kind != "depthwise":
            _select(module, "weight", rows[rows < len(layer.outputs) // module.groups], axis=1)
        _set_widths(module, layer, columns, rows)
    elif isinstance(module, CONVOLUTIONS):  # (outputs, inputs / groups, ...)
        _select(module, "weight", rows)
        if layer.kind != "depthwise":  # coupled channels have the same places in every group
            _select(module, "weight", columns[columns < len(layer.inputs) // module.groups], axis=1)
        _set_widths(module, layer, columns, rows)
    elif isinstance(module, nn.Linear):
        _select(module, "weight", rows)
        _select(module, "weight", columns, axis=1)
        module.in_features, module.out_features = len(columns), len(rows)
    else:
        _resize_channelwise(module, rows)


def _resize_channelwise(module: nn.Module, rows: NDArray[np.int64]) -> None:
    """Layers with one weight a channel, or none."""
    _select(module, "weight", rows)
    if isinstance(module, BATCHNORMS + INSTANCENORMS):
        cast(nn.BatchNorm2d, module).num_features = len(rows)
    elif isinstance(module, LAYERNORMS):
        cast(nn.LayerNorm, module).normalized_shape = (len(rows),)
    elif isinstance(module, nn.GroupNorm):
        module.num_groups = len(rows) if module.num_groups == module.num_channels else module.num_groups
        module.num_channels = len(rows)
    elif isinstance(module, Part):
        module.channels = len(rows)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(rows)


def _set_widths(module: Any, layer: LayerGroups, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    module.in_channels, module.out_channels = len(columns), len(rows)
    if layer.kind == "depthwise":
        module.groups = len(columns)


def _select(module: nn.Module, name: str, index: NDArray[np.int64], axis: int = 0) -> None:
    value = getattr(module, name, None)
    if value is None or value.shape[axis] == len(index):
        return
    chosen = value.detach().index_select(axis, torch.from_numpy(index).to(value.device))
    if isinstance(value, nn.Parameter):
        chosen = nn.Parameter(chosen, requires_grad=value.requires_grad)
    setattr(module, name, chosen)


def _has_bias(model: nn.Module, path: str) -> bool:
    return getattr(model.get_submodule(path), "bias", None) is not None


def _widths(model: nn.Module) -> dict[str, tuple[int, int]]:
    widths = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            widths[path] = (module.in_channels, module.out_channels)
        elif isinstance(module, nn.BatchNorm2d):
            widths[path] = (module.num_features, module.num_features)
        elif isinstance(module, Part):
            widths[path] = (module.channels, module.channels)
    return widths
