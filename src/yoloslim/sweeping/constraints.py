"""Which of several measured models to ship: those that satisfy the constraints, and the best of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yoloslim.config.sweep import Constraints, Objective
from yoloslim.errors import PruneError

Metrics = Mapping[str, Any]
EQUAL_SPEED = 0.05
"""Latencies that differ by less than this share count as equal: a repeated measurement would swap them."""
BOUNDS = (
    ("max_params_m", "params_m", 1),
    ("max_latency_ms", "latency_ms", 1),
    ("min_fps", "fps", -1),
    ("max_size_mb", "size_mb", 1),
)
"""Constraint, the metric it bounds, and whether from above (1) or below (-1)."""
UNITS = {"params_m": " M parameters", "latency_ms": " ms", "fps": " images/s", "size_mb": " MB"}


@dataclass(frozen=True)
class Miss:
    """A constraint that a model does not satisfy: in words, and by which share of the bound."""

    constraint: str
    text: str
    share: float


def misses(metrics: Metrics, baseline: Metrics, constraints: Constraints) -> list[Miss]:
    """What a measured model does not satisfy; empty if it may be shipped.

    Args:
        metrics: of the model on the runtime: map50, params_m, latency_ms, fps, size_mb.
        baseline: of the dense model on the same runtime.
        constraints: what must hold.

    Raises:
        PruneError: a metric that is needed is missing; the message names it.
    """
    return [*map_miss(metrics, baseline, constraints), *budget_misses(metrics, constraints)]


def map_miss(metrics: Metrics, baseline: Metrics, constraints: Constraints) -> list[Miss]:
    """The accuracy that is lost, if it is more than allowed."""
    allowed = constraints.max_map_drop
    if allowed is None:
        return []
    dense, found = number(baseline, "map50"), number(metrics, "map50")
    if dense - found <= allowed + 1e-9:  # 0.70 - 0.67 is a hair above 0.03
        return []
    text = f"loses {dense - found:.3f} map50, allowed {allowed:g}"
    return [Miss("max_map_drop", text, (dense - found - allowed) / max(dense, 1e-9))]


def budget_misses(metrics: Metrics, constraints: Constraints) -> list[Miss]:
    """Bounds on size and speed that do not hold."""
    found = []
    for constraint, metric, sign in BOUNDS:
        bound = getattr(constraints, constraint)
        if bound is None:
            continue
        value = number(metrics, metric)
        if sign * value > sign * bound:
            word = "at most" if sign > 0 else "at least"
            text = f"has {value:.4g}{UNITS[metric]}, wanted {word} {bound:g}"
            found.append(Miss(constraint, text, abs(value - bound) / bound))
    return found


def has_budgets(constraints: Constraints) -> bool:
    """Whether size or speed are bounded at all."""
    return any(getattr(constraints, name) is not None for name, _, _ in BOUNDS)


def choose(candidates: Mapping[str, Metrics], objective: Objective) -> str:
    """The best of those that satisfy the constraints, by name.

    fastest: least latency, or most times as fast as the dense model where all were timed in turn with it; of models
    that differ by less than `EQUAL_SPEED` the one with the fewest parameters. smallest: fewest parameters. accurate:
    highest map50. What then is equal is decided by map50, then by parameters.

    Raises:
        PruneError: a metric that is needed is missing.
    """
    params = {name: number(metrics, "params_m") for name, metrics in candidates.items()}
    map50 = {name: number(metrics, "map50") for name, metrics in candidates.items()}
    if objective == "accurate":
        return min(candidates, key=lambda name: (-map50[name], params[name]))
    names = list(candidates)
    if objective == "fastest":
        paired = all("speedup" in metrics for metrics in candidates.values())
        slow = {n: 1 / number(m, "speedup") if paired else number(m, "latency_ms") for n, m in candidates.items()}
        fastest = min(slow.values())
        names = [name for name in names if slow[name] <= fastest * (1 + EQUAL_SPEED)]
    return min(names, key=lambda name: (params[name], -map50[name]))


def closest(candidates: Mapping[str, Metrics], baseline: Metrics, constraints: Constraints) -> str:
    """The candidate that misses the constraints by the smallest shares, summed."""
    return min(candidates, key=lambda name: sum(m.share for m in misses(candidates[name], baseline, constraints)))


def number(metrics: Metrics, name: str) -> float:
    """A metric that is needed.

    Raises:
        PruneError: it is missing or not finite.
    """
    value = metrics.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise PruneError(
            f"no metric '{name}' among {', '.join(metrics) or 'none'}; run the stage that measures it again"
        )
    return float(value)
