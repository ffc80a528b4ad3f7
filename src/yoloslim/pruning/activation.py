"""What arrives of each channel where it is read: the mean of its absolute value over some inputs, without labels."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from yoloslim.pruning.coupling import Coupling
from yoloslim.pruning.importance import Scores, scored_layers
from yoloslim.pruning.inputs import Example, Inputs
from yoloslim.pruning.union import FILTERS
from yoloslim.torch_threads import torch_threads


@torch_threads(1)  # more would change the last digits
def activation_scores(model: nn.Module, coupling: Coupling, batches: Iterable[Example | Inputs]) -> Scores:
    """Mean |activation| of channels, behind the activation function and the residual sum if there is one.

    A channel is looked at where convolutions and linear layers read it, and its score is the mean over these: what
    is tied has one score. One that no such layer reads has 0.

    Args:
        model: left as it was, its modes too.
        coupling: of its channels.
        batches: inputs of the network, each counted alike.
    """
    total, readers = np.zeros(coupling.groups), np.zeros(coupling.groups)

    def note(path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        groups = coupling.layers[path].inputs

        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0]
            axis = x.dim() - 1 if isinstance(module, nn.Linear) else 1
            np.add.at(total, groups, _mean(x, axis))
            np.add.at(readers, groups, 1)

        return hook

    modes = {module: module.training for module in model.modules()}
    read = [path for path, layer in coupling.layers.items() if layer.kind in FILTERS and layer.kind != "embedding"]
    handles = [model.get_submodule(path).register_forward_pre_hook(note(path)) for path in read]
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                Inputs.of(batch).call(model)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    mean = (total / np.maximum(readers, 1)).astype(np.float32)
    return {path: mean[coupling.layers[path].outputs] for path in scored_layers(model, coupling)}


def _mean(x: Tensor, axis: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    rows = x.abs().double().movedim(axis, -1).flatten(0, -2)
    return np.asarray(rows.mean(0).cpu())
