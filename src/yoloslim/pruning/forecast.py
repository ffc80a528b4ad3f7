"""Before sparse training: what can the penalty reach? After it: how much can be pruned?

The pull on a scale has constant sign, so its travel is a plain sum over steps. A forecast that costs a
millisecond tells in advance what users otherwise find out after a night: that the scales did not move.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import PruneError

NEAR_ZERO = 1e-2
"""Below this a channel gives almost a constant; folding takes care of that constant."""
ENOUGH_PERCENT = 10
"""Share of scales near zero, %, below which nothing to speak of can go by scales alone."""


@dataclass(frozen=True)
class Forecast:
    """What the penalty can reach if the loss does not resist.

    Attributes:
        travel: largest distance a scale can move towards zero.
        reach_percent: share of the scales that lie within that distance of zero.
        needed_rate: rate at which the asked percent lies within reach (infinite for Adam's subgradient, whose
            travel does not depend on the rate).
        text: the same in words.
    """

    travel: float
    reach_percent: float
    needed_rate: float
    text: str


def travel(
    lrs: Iterable[float],
    rates: Iterable[float],
    *,
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd",
    mode: Literal["subgradient", "proximal"] = "subgradient",
    momentum: float = 0.0,
) -> float:
    """Distance that a constant-sign penalty moves a scale, summed over steps.

    SGD moves it by `lr * rate / (1 - momentum)` a step in the long run; a proximal step by exactly `lr * rate`
    (give the momentum if the step is scaled by `1 / (1 - momentum)`). Adam divides the penalty by its own size:
    at most `lr` a step, whatever the rate.

    Args:
        lrs: learning rate of each step.
        rates: penalty of each step, after its own decay.
        optimizer: what takes the steps.
        mode: how the penalty enters.
        momentum: in [0, 1).
    """
    if not 0 <= momentum < 1:
        raise PruneError(f"momentum={momentum} is out of range; allowed: from 0 up to, but not including, 1")
    pairs = list(zip(lrs, rates, strict=True))
    if optimizer != "sgd" and mode == "subgradient":
        return float(sum(lr for lr, rate in pairs if rate > 0))
    return float(sum(lr * rate for lr, rate in pairs)) / (1 - momentum)


def forecast(gammas: NDArray[np.floating], distance: float, rate: float, percent: float) -> Forecast:
    """Compare what the penalty can move with where the scales stand.

    Args:
        gammas: (N,) scales before sparse training.
        distance: as `travel` gives it.
        rate: the rate that the distance belongs to.
        percent: largest share of the channels that will be asked for, in [0, 100).
    """
    sizes = _sorted_sizes(gammas)
    reach = 100 * float(np.searchsorted(sizes, distance, side="right")) / len(sizes)
    wanted = float(sizes[min(int(len(sizes) * percent / 100), len(sizes) - 1)])
    needed = rate * wanted / distance if distance > 0 else float("inf")
    if reach >= percent:
        text = f"scales can move by {distance:.3g}: up to {reach:.0f} % can reach zero, {percent:g} % are asked for"
    else:
        text = (
            f"scales can move by only {distance:.3g} while {percent:g} % of them start below {wanted:.3g}: at most "
            f"{reach:.0f} % can reach zero; raise the rate from {rate:g} to about {needed:.2g}, or train longer"
        )
    return Forecast(distance, reach, needed, text)


@dataclass(frozen=True)
class Prunability:
    """How much can be pruned by scales alone.

    Attributes:
        percent: largest whole percent at which only scales below the limit go.
        near_zero_percent: share of the scales below the limit.
        contribution_percent: share of the sum of scales that going to `percent` removes.
        text: the same in words.
        advice: what to do after a sparse training that left it at that; empty where there is enough to prune.
    """

    percent: int
    near_zero_percent: float
    contribution_percent: float
    text: str
    advice: str


def prunability(gammas: NDArray[np.floating], limit: float = NEAR_ZERO) -> Prunability:
    """Judge the scales of a network.

    Args:
        gammas: (N,) prunable scales.
        limit: what counts as near zero.

    Raises:
        PruneError: there are none, or some are NaN or infinite.
    """
    sizes = _sorted_sizes(gammas)
    below = int(np.searchsorted(sizes, limit, side="left"))
    percent = min(below * 100 // len(sizes), 99)
    removed = sizes[: int(len(sizes) * percent / 100)].sum()
    contribution = 100 * float(removed / sizes.sum()) if sizes.sum() > 0 else 0.0
    near = 100 * below / len(sizes)
    text = f"sparse enough for about {percent} percent: {near:.1f} % of {len(sizes)} scales are below {limit:g}"
    advice = "the penalty has hardly worked: raise the rate or train longer" if percent < ENOUGH_PERCENT else ""
    return Prunability(percent, near, contribution, text, advice)


def _sorted_sizes(gammas: NDArray[np.floating]) -> NDArray[np.float64]:
    sizes = np.sort(np.abs(np.asarray(gammas, np.float64)).ravel())
    if not sizes.size:
        raise PruneError("there are no BatchNorm scales to judge; does the scope allow any layer?")
    if not np.isfinite(sizes).all():
        raise PruneError("some BatchNorm scales are NaN or infinite; training has diverged: lower lr0 or the rate")
    return sizes
