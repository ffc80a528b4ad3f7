"""Which channel groups stay under a budget of measured time.

A table of layers' times says in which order bundles of channels should go. What a network takes is not the sum of its
layers, so the table does not say how many: networks on that way are measured whole, until one meets the budget.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.budget import LayerCost, budget_of
from yoloslim.pruning.coupling import BoolArray, Coupling
from yoloslim.pruning.importance import Scores
from yoloslim.pruning.selection import NO_FASTER, Selection

ALLOWED = 0.03
"""Share of the budget that may be left over."""
AIM = 0.985
"""Share of the budget that is aimed at: the middle of what is allowed."""
TURNS = 10
"""Networks that are measured on the way, at most."""
BY_LINE = 5
"""Turns that trust the line between the nearest networks that were measured; later ones halve what is left."""


@dataclass(frozen=True)
class Step:
    """A network on the way.

    Attributes:
        removals: bundles that are gone.
        table_ms: sum of its layers' times.
        measured_ms: of the whole.
    """

    removals: int
    table_ms: float
    measured_ms: float


def select_by_latency(
    model: nn.Module,
    coupling: Coupling,
    request: PruneRequest,
    scores: Scores,
    layer_ms: LayerCost,
    measure: Callable[[BoolArray], float],
) -> tuple[Selection, dict[str, Any]]:
    """Choose the groups that stay: the most importance within `target_latency_ms`, `target_speedup`, or `percent`.

    Args:
        model: the network that was traced; read only.
        coupling: of its channels.
        request: a percent is one of the network's latency, to be saved.
        scores: what each channel matters; those of channels that go together are added up.
        layer_ms: milliseconds of a convolution by its widths.
        measure: milliseconds of what a mask leaves.

    Returns:
        The selection, and how it came about: `target_ms`, `dense_ms`, `smallest_ms` (at the minimums),
        `table_dense_ms`, `table_ms`, `predicted_ms` (by the table alone), `measured_ms`, `measured` (every network on
        the way) and `solving_s`.

    Raises:
        PruneError: the minimums leave more than the budget, or nothing can be pruned.
    """
    begin = time.perf_counter()
    budget = budget_of(model, coupling, request, scores, layer_ms)
    candidates, costs, bundles = budget.candidates, [budget.total], []
    for bundle, cost in budget.removals():
        bundles.append(bundle)
        costs.append(cost)
    solving_s = time.perf_counter() - begin

    def keep(removals: int) -> BoolArray:
        kept = np.ones(coupling.groups, np.bool_)
        kept[np.concatenate([*bundles[:removals], np.zeros(0, np.int64)])] = False
        return kept

    def at(removals: int) -> Step:
        return Step(removals, costs[removals], measure(keep(removals)))

    dense = at(0)
    target, name = _target(request, dense.measured_ms)
    steps = [dense]
    if dense.measured_ms > target:
        steps += _search(at, costs, dense, target, name)
    found = min((s for s in steps if s.measured_ms <= target), key=lambda step: step.removals)
    kept = keep(found.removals)
    entries = np.concatenate([coupling.layers[path].outputs for path in scores])
    removed = float(100 * (~kept[entries[candidates[entries]]]).mean())
    asked = 100 * (1 - target / dense.measured_ms)
    selection = Selection(kept, candidates, max(0.0, round(asked, 3)), removed, 0.0, {}, 100.0)
    return selection, {
        "target_ms": target,
        "dense_ms": dense.measured_ms,
        "smallest_ms": steps[1].measured_ms if len(steps) > 1 else None,
        "table_dense_ms": dense.table_ms,
        "table_ms": found.table_ms,
        "predicted_ms": dense.measured_ms * found.table_ms / dense.table_ms,
        "measured_ms": found.measured_ms,
        "measured": [vars(step) for step in steps],
        "solving_s": solving_s,
    }


def _target(request: PruneRequest, dense_ms: float) -> tuple[float, str]:
    """Milliseconds, and how they were asked for."""
    if request.target_latency_ms is not None:
        return request.target_latency_ms, f"target_latency_ms={request.target_latency_ms:g}"
    if request.target_speedup is not None:
        return dense_ms / request.target_speedup, f"target_speedup={request.target_speedup:g}"
    return dense_ms * (1 - request.percent / 100), f"percent={request.percent:g} of the latency"


def _search(at: Callable[[int], Step], costs: list[float], dense: Step, target: float, name: str) -> list[Step]:
    """The networks that were measured: the smallest, then those between it and the dense one.

    Raises:
        PruneError: the smallest takes longer than the budget.
    """
    above, within = dense, at(len(costs) - 1)
    if within.measured_ms > target:
        speedup = dense.measured_ms / within.measured_ms
        way = "ask for that, or lower them" if speedup > 1 else NO_FASTER
        raise PruneError(
            f"{name} is out of reach: {dense.measured_ms:.4g} ms should become {target:.4g}, and round_to, "
            f"min_channels and layer_keep leave at least {within.measured_ms:.4g} ms ({speedup:.3g} times as fast); "
            f"{way}"
        )
    steps = [within]
    for turn in range(TURNS):
        if within.measured_ms >= (1 - ALLOWED) * target or within.removals - above.removals <= 1:
            break
        middle = _next(costs, above, within, AIM * target, by_line=turn < BY_LINE)
        steps.append(step := at(middle))
        above, within = (step, within) if step.measured_ms > target else (above, step)
    return steps


def _next(costs: list[float], above: Step, within: Step, aim: float, by_line: bool) -> int:
    """Which network to measure between two: where the line through both meets what is aimed at, or the middle."""
    share = (above.measured_ms - aim) / (above.measured_ms - within.measured_ms) if by_line else 0.5
    wanted = above.table_ms + share * (within.table_ms - above.table_ms)
    place = next(i for i in range(above.removals, len(costs)) if costs[i] <= wanted or i == within.removals)
    return min(max(place, above.removals + 1), within.removals - 1)
