"""Cut channels out of a network, or mask them: index selection on weights, nothing else."""

import copy
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector
from yoloslim.models.split_blocks import Part
from yoloslim.pruning.folding import fold_constants
from yoloslim.pruning.labels import BoolArray, ChannelLabels, LayerLabels

M = TypeVar("M", bound=nn.Module)


def copy_model(model: M) -> M:
    """A deep copy of a network that shares its (frozen) spec, which takes longer to copy than the weights."""
    spec = getattr(model, "spec", None)
    return copy.deepcopy(model, {id(spec): spec})


def cut(model: M, labels: ChannelLabels, keep: BoolArray, *, fold: bool = False) -> M:
    """A smaller copy of the network; the input is unchanged.

    Args:
        model: the labelled network. A `Detector` also gets the new widths in its spec.
        labels: its channel labels.
        keep: (groups,) true for channel groups that stay.
        fold: first fold what removed channels give, act(beta), into what reads them (`folding.py`).

    Raises:
        PruneError: the mask removes a protected group or all channels of a layer, which the message names.
    """
    check_mask(labels, keep)
    small = copy_model(model)
    if fold:
        fold_constants(small, labels, keep)
    for layer in labels.layers.values():
        _resize(small.get_submodule(layer.path), layer, keep)
    if isinstance(small, Detector):
        gained = (path for path in labels.layers if _has_bias(small, path) and not _has_bias(model, path))
        update = {"widths": _widths(small), "biased": (*small.spec.biased, *gained)}
        small.spec = small.spec.model_copy(update=update)
    return small


def mask(model: M, labels: ChannelLabels, keep: BoolArray, *, freeze: bool = False) -> M:
    """A copy of the same size in which doomed channels are silent.

    Args:
        model: the labelled network.
        labels: its channel labels.
        keep: (groups,) true for channel groups that stay.
        freeze: keep their shifts, so that they give the constant act(beta); else they give act(0).
    """
    check_mask(labels, keep)
    masked = copy_model(model)
    with torch.no_grad():
        for layer in labels.layers.values():
            module = masked.get_submodule(layer.path)
            doomed = torch.from_numpy(~keep[layer.outputs])
            if layer.kind != "prelu" and getattr(module, "weight", None) is not None:
                weight = cast(Tensor, module.weight)
                (weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else weight)[doomed] = 0
            if not freeze and getattr(module, "bias", None) is not None:
                cast(Tensor, module.bias)[doomed] = 0
    return masked


def check_mask(labels: ChannelLabels, keep: BoolArray) -> None:
    """Refuse masks that no network could run with.

    Raises:
        PruneError: see `cut`.
    """
    if keep.shape != (labels.groups,):
        raise PruneError(f"the mask has shape {keep.shape}, the network {labels.groups} channel groups")
    for path, layer in labels.layers.items():
        for side, groups in (("input", layer.inputs), ("output", layer.outputs)):
            if (labels.protected[groups] & ~keep[groups]).any():
                raise PruneError(f"layer '{path}': the mask removes {side} channels that are protected; keep them")
            if not keep[groups].any():
                raise PruneError(
                    f"layer '{path}': the mask removes all {len(groups)} {side} channels; keep at least one"
                )


def _resize(module: nn.Module, layer: LayerLabels, keep: BoolArray) -> None:
    rows, columns = np.flatnonzero(keep[layer.outputs]), np.flatnonzero(keep[layer.inputs])
    for name in ("bias", "running_mean", "running_var"):
        _select(module, name, rows)
    if isinstance(module, nn.ConvTranspose2d):  # its weight is (inputs, outputs, ...)
        _select(module, "weight", rows, axis=1)
        _select(module, "weight", columns)
        module.in_channels, module.out_channels = len(columns), len(rows)
        return
    _select(module, "weight", rows)
    if isinstance(module, nn.BatchNorm2d):
        module.num_features = len(rows)
    elif isinstance(module, Part):
        module.channels = len(rows)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(rows)
    elif isinstance(module, nn.Linear):
        _select(module, "weight", columns, axis=1)
        module.in_features, module.out_features = len(columns), len(rows)
    elif isinstance(module, nn.Conv2d):
        if layer.kind == "depthwise":
            module.groups = len(columns)
        else:  # labels keep the same places in every group
            width = len(layer.inputs) // module.groups
            _select(module, "weight", columns[columns < width], axis=1)
        module.in_channels, module.out_channels = len(columns), len(rows)


def _select(module: nn.Module, name: str, index: NDArray[np.int64], axis: int = 0) -> None:
    value = getattr(module, name, None)
    if value is None:
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
