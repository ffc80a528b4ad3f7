"""The optimal pruning point: pure functions on tables of measured points, for flows, tests and notebooks alike.

Stage one, cheap, before finetuning: walk towards more pruning until mAP falls off a cliff (`find_cliff`), first
in coarse steps, then in finer ones near it (`next_points`). Stage two, after finetuning a few candidates around
it: the best one that the constraints allow (`choose`).
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from yoloslim.errors import PruneError

CLIFF = 0.2
"""A step that loses more than this share of the mAP it had is a cliff."""

Objective = Literal["latency_ms", "params_m", "gflops", "size_mb"]


def find_cliff(points: Mapping[float, float], drop: float = CLIFF) -> float:
    """The last point before a step that loses more than `drop` of the mAP it had; without one, the last of all.

    Args:
        points: force (percent, ratio or removed units) -> mAP; NaN counts as 0. Any order.
        drop: share in (0, 1).

    Raises:
        PruneError: there are no points.
    """
    if not points:
        raise PruneError("there is no measured point to look for a cliff in; measure at least one")
    ordered = [(force, 0.0 if math.isnan(value) else value) for force, value in sorted(points.items())]
    for (force, value), (_, following) in itertools.pairwise(ordered):
        if following < value * (1 - drop):
            return force
    return ordered[-1][0]


def next_points(
    points: Mapping[float, float],
    *,
    low: int = 10,
    high: int = 90,
    coarse: int = 20,
    fine: int = 2,
    ways: int = 2,
    drop: float = CLIFF,
) -> tuple[int, ...]:
    """Which percents to try next; empty when the cliff is known to within `fine`.

    Args:
        points: percent -> mAP measured so far; 0 is the network before pruning.
        low: smallest percent to try.
        high: largest percent to try.
        coarse: step of the first round.
        fine: resolution to stop at.
        ways: points to try within the step that holds the cliff, each round: as many as run side by side.
        drop: see `find_cliff`.
    """
    first = (*range(low, high, coarse), high)
    missing = tuple(p for p in first if p not in points)
    if missing and (not points or set(points) <= {0}):
        return missing
    before = int(find_cliff(points, drop))
    after = min((int(p) for p in points if p > before), default=None)
    if after is None:
        return missing[-1:] if missing and missing[-1] > before else ()
    if after - before <= fine:
        return ()
    gap = (after - before) / (ways + 1)
    tries = {round(before + gap * i) for i in range(1, ways + 1)}
    return tuple(sorted(t for t in tries if before < t < after))


@dataclass(frozen=True)
class Constraints:
    """What a chosen model must satisfy; None asks nothing.

    Attributes:
        max_map_drop: absolute mAP@0.5 that may be lost against the baseline (0.02 is two points).
        max_params_m: millions of parameters.
        max_latency_ms: milliseconds an image.
        min_fps: images a second.
    """

    max_map_drop: float = 0.02
    max_params_m: float | None = None
    max_latency_ms: float | None = None
    min_fps: float | None = None


@dataclass(frozen=True)
class Choice:
    """The chosen percent (None if nothing satisfies the constraints), and why each other was not."""

    percent: float | None
    rejected: dict[float, str]


def choose(
    candidates: Mapping[float, Mapping[str, float]],
    baseline_map50: float,
    constraints: Constraints,
    objective: Objective = "latency_ms",
) -> Choice:
    """The candidate with the smallest objective among those that satisfy the constraints; mAP breaks ties.

    Args:
        candidates: percent -> metrics of the finetuned model (map50, params_m, latency_ms, fps, ...).
        baseline_map50: of the dense model.
        constraints: what must hold.
        objective: the metric to minimise.

    Raises:
        PruneError: a candidate lacks a metric that is needed, which the message names.
    """
    rejected: dict[float, str] = {}
    fitting: list[tuple[float, float, float]] = []
    for percent, metrics in sorted(candidates.items()):
        faults = list(_faults(percent, metrics, baseline_map50, constraints))
        if faults:
            rejected[percent] = "; ".join(faults)
        else:
            objective_value = _metric(metrics, objective, percent)
            fitting.append((objective_value, -_metric(metrics, "map50", percent), percent))
    if not fitting:
        return Choice(None, rejected)
    best = min(fitting)
    for value, _, percent in fitting:
        if percent != best[2]:
            rejected[percent] = f"{objective} {value:.4g} is not better than {best[0]:.4g}"
    return Choice(best[2], rejected)


def _faults(
    percent: float, metrics: Mapping[str, float], baseline_map50: float, constraints: Constraints
) -> Iterable[str]:
    drop = baseline_map50 - _metric(metrics, "map50", percent)
    if not drop <= constraints.max_map_drop:
        yield f"map50 fell by {drop:.4f}, allowed {constraints.max_map_drop:g}"
    limits: Sequence[tuple[str, float | None, int]] = (
        ("params_m", constraints.max_params_m, 1),
        ("latency_ms", constraints.max_latency_ms, 1),
        ("fps", constraints.min_fps, -1),
    )
    for name, limit, sign in limits:
        if limit is not None and not sign * _metric(metrics, name, percent) <= sign * limit:
            word = "at most" if sign > 0 else "at least"
            yield f"{name} {_metric(metrics, name, percent):.4g}, wanted {word} {limit:g}"


def _metric(metrics: Mapping[str, float], name: str, percent: float) -> float:
    try:
        return metrics[name]
    except KeyError:
        raise PruneError(f"candidate {percent:g} has no metric '{name}'; it has {', '.join(metrics)}") from None
