"""Which channel groups stay under a budget of measured time.

A table of layers' times says which widths lose least at a sum of these times. What a network takes is not that sum, so
the table does not say which sum meets the budget: the best networks of several sums are measured whole, until one does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from yoloslim.errors import OutOfReachError, PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.budget import Budget, LayerCost, Widths, budget_of
from yoloslim.pruning.coupling import BoolArray, Coupling
from yoloslim.pruning.importance import Scores
from yoloslim.pruning.selection import UNITS, Selection, out_of_reach

ALLOWED = 0.03
"""Share of the budget that may be left over."""
AIM = 0.985
"""Share of the budget that is aimed at: the middle of what is allowed."""
TURNS = 10
"""Networks that are measured on the way, at most."""
BY_LINE = 5
"""Turns that trust the line between the nearest networks that were measured; later ones halve what is left."""
OFF_ENDS = 0.02
"""Share of the room between two networks that the next one stays away from both."""
LEAST_ROOM = 1e-5
"""Share of the dense network's time that no further network is looked for in."""
SLOPE = 0.01
"""Share by which all channels of a layer take longer than none, at least: tables of small layers are flat."""


@dataclass(frozen=True)
class Step:
    """A network on the way.

    Attributes:
        asked_ms: what the sum of its layers' times was to be at most.
        table_ms: what it is.
        measured_ms: of the whole.
        gap: how much less importance could be lost at that sum, relatively.
    """

    asked_ms: float
    table_ms: float
    measured_ms: float
    gap: float


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
        the way), `gap` (how much less importance could be lost at `table_ms`, relatively) and `solving_s`.

    Raises:
        OutOfReachError: the minimums leave more than the budget.
        PruneError: nothing can be pruned, there is no convolution, or no widths are found in time.
    """
    full = {path: len(layer.inputs) * len(layer.outputs) for path, layer in coupling.layers.items()}

    def rising(path: str, c_in: int, c_out: int) -> float:
        return layer_ms(path, c_in, c_out) * (1 + SLOPE * c_in * c_out / full[path])

    budget = budget_of(model, coupling, request, scores, rising)
    if not budget.sides:
        raise PruneError(
            "selection latency goes by the times of convolutions, and this network has none; take selection flops, or "
            "percent with target_latency_ms or target_speedup"
        )
    search = _Search(request, budget, measure)
    target, name = _target(request, search.dense.measured_ms)
    if search.dense.measured_ms > target:
        search.run(target, name)
    found, kept = search.best(target)
    dense, steps = search.dense, search.steps
    selection = budget.selection(kept, scores, 100 * (1 - target / dense.measured_ms))
    return selection, {
        "target_ms": target,
        "dense_ms": dense.measured_ms,
        "smallest_ms": steps[1].measured_ms if len(steps) > 1 else None,
        "table_dense_ms": dense.table_ms,
        "table_ms": found.table_ms,
        "predicted_ms": dense.measured_ms * found.table_ms / dense.table_ms,
        "measured_ms": found.measured_ms,
        "measured": [vars(step) for step in steps],
        "gap": found.gap,
        "solving_s": search.solving_s,
    }


def _target(request: PruneRequest, dense_ms: float) -> tuple[float, str]:
    """Milliseconds, and how they were asked for."""
    if request.target_latency_ms is not None:
        return request.target_latency_ms, f"target_latency_ms={request.target_latency_ms:g}"
    if request.target_speedup is not None:
        return dense_ms / request.target_speedup, f"target_speedup={request.target_speedup:g}"
    return dense_ms * (1 - request.percent / 100), f"percent={request.percent:g} of the latency"


class _Search:
    """Looks for the sum of layers' times whose best network meets a budget."""

    def __init__(self, request: PruneRequest, budget: Budget, measure: Callable[[BoolArray], float]) -> None:
        self.request, self.budget, self.measure, self.solving_s = request, budget, measure, 0.0
        self.known: dict[tuple[int, ...], Step] = {}
        none = (0,) * len(budget.classes)
        self.dense = self._measured(Widths(none, budget.total, 0.0), budget.total)

    @property
    def steps(self) -> list[Step]:
        """All networks that were measured."""
        return list(self.known.values())

    def best(self, target: float) -> tuple[Step, BoolArray]:
        """What takes longest within a target, and what of the network that is."""
        within = {removed: step for removed, step in self.known.items() if step.measured_ms <= target}
        removed = max(within, key=lambda each: within[each].table_ms)
        return within[removed], self.budget.kept(removed)

    def run(self, target: float, name: str) -> None:
        """Measure networks between the dense one and the smallest.

        Raises:
            OutOfReachError: the smallest takes longer than the target.
            PruneError: no widths are found in time.
        """
        above, within = self.dense, self._smallest(target, name)
        for turn in range(TURNS):
            room = above.asked_ms - within.asked_ms
            if within.measured_ms >= (1 - ALLOWED) * target or room < LEAST_ROOM * self.budget.total:
                break
            share = _share(above, within, AIM * target) if turn < BY_LINE else 0.5
            asked = above.asked_ms - share * room
            begin = time.perf_counter()
            widths = self.budget.widths(asked)
            self.solving_s += time.perf_counter() - begin
            step = replace(self._measured(widths, asked), asked_ms=asked)
            above, within = (step, within) if step.measured_ms > target else (above, step)

    def _measured(self, widths: Widths, asked: float) -> Step:
        """A network, measured unless it was before."""
        if widths.removed not in self.known:
            took = self.measure(self.budget.kept(widths.removed))
            self.known[widths.removed] = Step(asked, widths.cost, took, widths.gap)
        return self.known[widths.removed]

    def _smallest(self, target: float, name: str) -> Step:
        """What the minimums leave.

        Raises:
            OutOfReachError: it takes longer than the target.
        """
        all_of_them = tuple(len(each.bundles) for each in self.budget.classes)
        smallest, dense_ms = (
            self._measured(Widths(all_of_them, self.budget.least, 0.0), self.budget.least),
            self.dense.measured_ms,
        )
        if smallest.measured_ms <= target:
            return smallest
        least = smallest.measured_ms if any(all_of_them) else None
        raise OutOfReachError(out_of_reach(self.request, name, UNITS["latency_ms"], dense_ms, target, least))


def _share(above: Step, within: Step, aim: float) -> float:
    """Where between two networks the line through both meets what is aimed at, off both ends."""
    share = (above.measured_ms - aim) / (above.measured_ms - within.measured_ms)
    return min(max(share, OFF_ENDS), 1 - OFF_ENDS)
