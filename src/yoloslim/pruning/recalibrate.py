"""Re-estimate BatchNorm statistics: after a cut, what arrives at each layer has another mean and variance."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from yoloslim.torch_threads import torch_threads


@torch_threads(1)
def recalibrate(model: nn.Module, batches: Iterable[Tensor], fixed: Iterable[nn.Module] = ()) -> int:
    """Set running means and variances to the plain average over the given batches, in place.

    Needs no labels and no gradients. Weights, momentum and the mode of every module stay as they were; without
    any batch the statistics stay, too. One thread computes, since more would change the last digits.

    Args:
        model: the network.
        batches: images (B, 3, H, W) in [0, 1], as in training; a few hundred in all do.
        fixed: parts of the model whose statistics stay, such as layers that were frozen in training.

    Returns:
        Number of images seen.
    """
    kept = {module for part in fixed for module in part.modules()}
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats and m not in kept]
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    seen = 0
    model.eval()
    try:
        for norm in norms:
            norm.train()
            norm.momentum = None  # torch then takes the cumulative average
        with torch.no_grad():
            for batch in batches:
                if seen == 0:
                    for norm in norms:
                        norm.reset_running_stats()
                model(batch)
                seen += len(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    return seen
