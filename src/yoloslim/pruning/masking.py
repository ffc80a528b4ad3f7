"""Silence channels without cutting them: the network that a cut one is held against."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from yoloslim.pruning.coupling import BoolArray, Coupling, LayerGroups
from yoloslim.pruning.filters import as_stored, outputs_first
from yoloslim.pruning.operations import TRANSPOSED
from yoloslim.pruning.surgery import M, check_mask, copy_model
from yoloslim.pruning.union import FILTERS


def mask(model: M, coupling: Coupling, keep: BoolArray, *, freeze: bool = False) -> M:
    """A copy of the same size in which doomed channels are silent.

    Layers that take statistics over channels (LayerNorm, RMSNorm, GroupNorm) take those of the channels that stay:
    how many values a mean is over is what a cut changes, and no scale or shift can undo it.

    Args:
        model: the network that was traced.
        coupling: of its channels.
        keep: (groups,) true for channel groups that stay.
        freeze: keep the shifts of doomed channels, so that they give the constant act(beta), which is read on; else
            they give act(0), and no layer reads them.
    """
    check_mask(coupling, keep)
    masked = copy_model(model)
    with torch.no_grad():
        for layer in coupling.layers.values():
            module = masked.get_submodule(layer.path)
            _silence(module, layer, keep, freeze)
            if layer.kind in ("layernorm", "groupnorm") and not keep[layer.outputs].all():
                _normalise_what_stays(module, np.flatnonzero(keep[layer.outputs]))
    return masked


def _silence(module: nn.Module, layer: LayerGroups, keep: BoolArray, freeze: bool) -> None:
    doomed = torch.from_numpy(~keep[layer.outputs])
    if layer.kind != "prelu" and getattr(module, "weight", None) is not None:
        if layer.kind in FILTERS:
            weight = outputs_first(module)
            weight = weight.masked_fill(doomed.view(-1, *(1,) * (weight.dim() - 1)).to(weight.device), 0)
            cast(Tensor, module.weight).copy_(as_stored(module, weight))
            if not freeze and layer.kind in ("convolution", "grouped", "linear"):
                _ignore(module, layer, keep)
        else:
            cast(Tensor, module.weight)[doomed] = 0
    if not freeze and getattr(module, "bias", None) is not None:
        cast(Tensor, module.bias)[doomed] = 0


def _ignore(module: nn.Module, layer: LayerGroups, keep: BoolArray) -> None:
    """Make a layer read nothing of doomed channels."""
    doomed = np.flatnonzero(~keep[layer.inputs])
    weight = cast(nn.Conv2d, module).weight
    if isinstance(module, TRANSPOSED):
        weight[torch.from_numpy(doomed)] = 0
    else:
        weight[:, torch.from_numpy(doomed[doomed < weight.shape[1]])] = 0


def _normalise_what_stays(module: nn.Module, kept: NDArray[np.int64]) -> None:
    forward, mode = module.forward, _KeptStatistics(torch.from_numpy(kept))

    def with_kept_statistics(*args: Any, **kwargs: Any) -> Any:
        with mode:
            return forward(*args, **kwargs)

    module.forward = with_kept_statistics


class _KeptStatistics(TorchFunctionMode):
    """Normalisation over some of the channels; the others give their shift."""

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.kept = kept

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        run: dict[Any, Callable[..., Tensor]] = {
            F.layer_norm: self._layer_norm,
            F.rms_norm: self._rms_norm,
            F.group_norm: self._group_norm,
        }
        return run.get(func, func)(*args, **kwargs)

    def _layer_norm(self, x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
        size, chosen = (len(self.kept),), self._chosen
        normal = F.layer_norm(x[..., self.kept], size, chosen(weight), chosen(bias), eps)
        return self._spread(normal.movedim(-1, 1), x.movedim(-1, 1), bias).movedim(1, -1)

    def _rms_norm(self, x: Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
        normal = F.rms_norm(x[..., self.kept], (len(self.kept),), self._chosen(weight), eps)
        return self._spread(normal.movedim(-1, 1), x.movedim(-1, 1), None).movedim(1, -1)

    def _group_norm(self, x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
        left = len(self.kept) if groups == x.shape[1] else groups
        normal = F.group_norm(x[:, self.kept], left, self._chosen(weight), self._chosen(bias), eps)
        return self._spread(normal, x, bias)

    def _chosen(self, values: Tensor | None) -> Tensor | None:
        return None if values is None else values[self.kept]

    def _spread(self, normal: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
        """What stays in its places among the shifts of what does not."""
        whole = torch.zeros_like(x)
        if bias is not None:
            whole += bias.view(1, -1, *(1,) * (x.dim() - 2))
        whole[:, self.kept] = normal
        return whole
