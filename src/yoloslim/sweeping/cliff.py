"""Stage one, cheap, before finetuning: walk towards more pruning until mAP falls off a cliff.

First in coarse steps, then by halving the step that fell, until the cliff is known to one percent.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from yoloslim.errors import PruneError

CLIFF = 0.2
"""A step that loses more than this share of the mAP it had is a cliff."""
Force = TypeVar("Force", int, float)


@dataclass(frozen=True)
class Fall(Generic[Force]):
    """Where mAP falls: the last force that keeps it, and the first that does not (None: there is no cliff)."""

    last: Force
    first: Force | None


def find_fall(points: Mapping[Force, float], steps: Sequence[Force], drop: float = CLIFF) -> Fall[Force]:
    """The first of `steps` that loses more than `drop` of the mAP that the one before had, narrowed by points between.

    What the finer points are measured against is the mAP at the beginning of the coarse step: against each other, small
    steps down a steep slope would lose little each, and no cliff would be left.

    Args:
        points: force (percent, ratio, removed units) -> mAP; NaN counts as 0. Any order.
        steps: the coarse round, those of `points` that are compared one with the next.
        drop: share in (0, 1).

    Raises:
        PruneError: there are no points.
    """
    if not points:
        raise PruneError("there is no measured point to look for a cliff in; measure at least one")
    value = {force: 0.0 if math.isnan(found) else found for force, found in points.items()}
    coarse = sorted(step for step in set(steps) if step in value)
    for before, after in itertools.pairwise(coarse):
        floor = value[before] * (1 - drop)
        if value[after] < floor:
            walk = [force for force in sorted(value) if before <= force <= after]
            first = next(force for force in walk if value[force] < floor)
            return Fall(walk[walk.index(first) - 1], first)
    return Fall(coarse[-1], None)


def coarse_steps(low: int, high: int, coarse: int) -> tuple[int, ...]:
    """Percents of the first round; both ends are among them."""
    return (*range(low, high, coarse), high)


def next_probes(points: Mapping[int, float], steps: Sequence[int], ways: int = 1, drop: float = CLIFF) -> list[int]:
    """Percents to measure next; empty once the cliff is known to one percent, or there is none.

    Args:
        points: percent -> mAP measured so far; 0 is the network before pruning.
        steps: of the first round, see `coarse_steps`.
        ways: points to try within the step that fell, each round: as many as run side by side.
        drop: see `find_fall`.
    """
    missing = [step for step in steps if step not in points]
    if missing:
        return missing
    fall = find_fall(points, (0, *steps), drop)
    if fall.first is None or fall.first == steps[0]:
        return []
    gap = (fall.first - fall.last) / (ways + 1)
    tries = {round(fall.last + gap * way) for way in range(1, ways + 1)}
    return sorted(percent for percent in tries if fall.last < percent < fall.first)
