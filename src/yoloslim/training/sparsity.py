"""The sparsity penalty of Network Slimming (arXiv 1708.06519) on BatchNorm scales, as a callback."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from yoloslim.errors import TrainError
from yoloslim.pruning.forecast import NEAR_ZERO
from yoloslim.training.callback import Callback, State

QUANTILES = (5, 25, 50, 75, 95)


def decayed(rate: float, epoch: int, epochs: int) -> float:
    """The penalty's rate in an epoch, counted from 0: it falls linearly towards a tenth, as in the sources."""
    return rate * (1 - 0.9 * epoch / epochs)


@dataclass(frozen=True)
class Collapse:
    """When accuracy under the penalty counts as lost: `epochs` validations in a row below this map50."""

    map50: float
    epochs: int = 3


class SparsityPenalty(Callback):
    """Pulls the scales of the named BatchNorms to zero while the network trains.

    Mode `subgradient` adds `rate_e * sign(gamma)` to the gradient of each scale and `beta_factor * rate *
    sign(beta)` to that of each shift, with `rate_e = rate * (1 - 0.9 * epoch / epochs)`, as the sources do. The
    terms are added once gradients are unscaled and clipped, so they are the same in any precision, and a large
    gradient of the detection loss does not shrink them.

    Mode `proximal` soft-thresholds each scale after the optimizer's step, by `lr * rate_e / (1 - momentum)` for SGD
    and `lr * rate_e` for Adam: the pull that the subgradient would have in the long run, but decoupled from the
    optimizer's state, and giving exact zeros.

    Scales and shifts of frozen layers stay as they are in either mode.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        rate: float,
        mode: Literal["subgradient", "proximal"],
        beta_factor: float,
        momentum: float,
        collapse: Collapse | None = None,
    ) -> None:
        self.layers = tuple(layers)
        self.rate, self.mode, self.beta_factor, self.momentum = rate, mode, beta_factor, momentum
        self.collapse = collapse
        self.before = self.gammas(model)
        self.sizes = [len(norm.weight) for norm in self._norms(model)]
        self.by_epoch: list[Tensor] = []

    @torch.no_grad()
    def before_step(self, state: State) -> None:
        """Add the sub-gradients of the penalties."""
        norms = self._norms(state.model)
        if self.mode == "subgradient":
            _add_signs([norm.weight for norm in norms], decayed(self.rate, state.epoch, state.epochs))
        if self.beta_factor > 0:
            _add_signs([norm.bias for norm in norms], self.beta_factor * self.rate)

    @torch.no_grad()
    def after_step(self, state: State) -> None:
        """Soft threshold of the scales, in proximal mode."""
        gammas: list[Tensor] = [norm.weight for norm in self._norms(state.model) if norm.weight.requires_grad]
        if self.mode == "proximal" and gammas:
            shrink = state.lr * decayed(self.rate, state.epoch, state.epochs) / (1 - self.momentum)
            signs = torch._foreach_sign(gammas)
            sizes = torch._foreach_abs(gammas)
            torch._foreach_sub_(sizes, shrink)
            torch._foreach_clamp_min_(sizes, 0.0)
            torch._foreach_mul_(sizes, signs)
            torch._foreach_copy_(gammas, sizes)

    def _norms(self, model: nn.Module) -> list[nn.BatchNorm2d]:
        return [_norm(model, path) for path in self.layers]

    def gammas(self, model: nn.Module) -> Tensor:
        """All penalised scales of a model, (N,) on the CPU."""
        return torch.cat([norm.weight.detach().float().cpu() for norm in self._norms(model)])

    def split(self, gammas: Tensor) -> tuple[Tensor, ...]:
        """Cut a vector (N,) of all scales into one a layer."""
        return torch.split(gammas, self.sizes)

    def after_epoch(self, state: State) -> dict[str, float]:
        """Quantiles of |gamma| and the share near zero.

        Raises:
            TrainError: accuracy has collapsed.
        """
        self._stop_on_collapse(state)
        self.by_epoch.append(self.gammas(state.ema))
        sizes = self.by_epoch[-1].abs()
        row = {f"gamma_p{q:02d}": float(sizes.quantile(q / 100)) for q in QUANTILES}
        return row | {"near_zero": float((sizes < NEAR_ZERO).float().mean())}

    def _stop_on_collapse(self, state: State) -> None:
        if self.collapse is None:
            return
        seen = [row["map50"] for row in state.history if "map50" in row][-self.collapse.epochs :]
        if len(seen) == self.collapse.epochs and max(seen) < self.collapse.map50:
            raise TrainError(
                f"val mAP50 has stayed below {self.collapse.map50:.3f} for {self.collapse.epochs} epochs "
                f"(now {seen[-1]:.3f}): the penalty is too strong. Try sparse.rate={self.rate / 3:.2g} "
                f"(now {self.rate:g}) with more epochs, or raise sparse.max_collapse if it may fall further first"
            )

    def saved(self) -> dict[str, Tensor]:
        """See Callback."""
        return {"by_epoch": torch.stack(self.by_epoch)} if self.by_epoch else {}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """See Callback."""
        self.by_epoch = list(saved.get("by_epoch", ()))


def _norm(model: nn.Module, path: str) -> nn.BatchNorm2d:
    return cast(nn.BatchNorm2d, model.get_submodule(path))


def _add_signs(values: list[nn.Parameter], rate: float) -> None:
    """Add `rate` times its sign to the gradient of each value that trains."""
    trained = [(value.grad, value.data) for value in values if value.grad is not None]
    if trained:
        gradients, data = (list(column) for column in zip(*trained, strict=True))
        torch._foreach_add_(gradients, torch._foreach_sign(data), alpha=rate)
