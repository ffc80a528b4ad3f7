"""Optimizers, schedules and the moving average of weights."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from yoloslim.config import PhaseParams

WARMUP_BIAS_LR = 0.1
"""Learning rate that biases start from: the head must first learn that most cells are empty."""
WARMUP_MOMENTUM = 0.8


def build_optimizer(
    model: nn.Module, name: str, lr: float, momentum: float, weight_decay: float, fused: bool = False
) -> torch.optim.Optimizer:
    """Optimizer with three groups: biases, BatchNorm scales, and all other weights (which alone decay).

    `momentum` is beta1 for Adam and AdamW. SGD uses Nesterov's form. `fused` updates all weights in one kernel; it
    does not go with a gradient scaler, since fused optimizers unscale gradients themselves, after clipping.
    """
    biases: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    weights: list[nn.Parameter] = []
    norms = tuple(v for k, v in vars(nn).items() if "Norm" in k and isinstance(v, type))
    for module in model.modules():
        for key, value in module.named_parameters(recurse=False):
            if not value.requires_grad:
                continue
            group = biases if key == "bias" else scales if isinstance(module, norms) else weights
            group.append(value)
    groups: list[dict[str, Any]] = [
        {"params": biases, "weight_decay": 0.0, "role": "bias"},
        {"params": scales, "weight_decay": 0.0, "role": "scale"},
        {"params": weights, "weight_decay": weight_decay, "role": "weight"},
    ]
    groups = [g for g in groups if g["params"]]
    match name:
        case "SGD":
            return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
        case "Adam":
            return torch.optim.Adam(groups, lr=lr, betas=(momentum, 0.999), fused=fused)
        case _:
            return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=fused)


def lr_factor(progress: float, lrf: float, schedule: str) -> float:
    """Share of lr0 at `progress` in [0, 1] of the training: from 1 down to `lrf`."""
    if schedule == "cosine":
        return lrf + (1 - lrf) * (1 + math.cos(math.pi * progress)) / 2
    return 1 - (1 - lrf) * progress


def set_learning_rates(
    optimizer: torch.optim.Optimizer,
    phase: PhaseParams,
    step: int,
    steps_per_epoch: int,
    schedule: str,
    momentum: float,
) -> float:
    """Set the rates for a step, warm-up included: a pure function of the step, so that resuming needs no state.

    Returns:
        The learning rate of convolution weights.
    """
    lr = phase.lr0 * lr_factor(step / (steps_per_epoch * phase.epochs), phase.lrf, schedule)
    warmup = phase.warmup_epochs * steps_per_epoch
    warm = min(1.0, step / warmup) if warmup > 0 else 1.0
    for group in optimizer.param_groups:
        start = WARMUP_BIAS_LR if group["role"] == "bias" and phase.lr0 < WARMUP_BIAS_LR else 0.0
        start = start if "momentum" in group else 0.0  # Adam's steps are of the size of its rate: 0.1 would explode
        group["lr"] = start + (lr - start) * warm
        if "momentum" in group:
            group["momentum"] = WARMUP_MOMENTUM + (momentum - WARMUP_MOMENTUM) * warm if warm < 1 else momentum
    return lr * warm


def learning_rates(phase: PhaseParams, steps_per_epoch: int, schedule: str) -> Iterator[float]:
    """The rate of convolution weights at every step of a training, for forecasts."""
    warmup = phase.warmup_epochs * steps_per_epoch
    for step in range(steps_per_epoch * phase.epochs):
        warm = min(1.0, step / warmup) if warmup > 0 else 1.0
        yield warm * phase.lr0 * lr_factor(step / (steps_per_epoch * phase.epochs), phase.lrf, schedule)


class Ema:
    """Exponential moving average of weights and running statistics, with a decay that rises from 0."""

    def __init__(self, model: nn.Module, decay: float, tau: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.tau = decay, tau
        self.updates = 0
        self._mine = _float_state(self.model)  # listing them takes longer than the update itself
        self._followed: tuple[nn.Module, list[Tensor]] | None = None

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model's present state."""
        if self._followed is None or self._followed[0] is not model:
            self._followed = model, _float_state(model)
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.tau))
        torch._foreach_lerp_(self._mine, self._followed[1], 1 - decay)


def _float_state(model: nn.Module) -> list[Tensor]:
    return [v for v in model.state_dict().values() if v.dtype.is_floating_point]
