"""Channels under a budget of time: those widths of all layers that lose least of what matters.

A layer's time is a function of both its widths, and most widths are those of several layers, so that no width can be
judged by itself. Channels that pass the same layers form a class, and go in bundles, the weakest first; which width
each class is left with is a mixed-integer linear programme: a choice for every class, one for every sum of classes that
a layer reads side by side, and for every layer the pair of its widths, which has a measured time (as in MDP, arXiv
2406.12079; the budget and the bundles are HALP's, arXiv 2110.10811).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import gcd

import numpy as np
from numpy.typing import NDArray
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import BoolArray, Coupling
from yoloslim.pruning.importance import Scores
from yoloslim.pruning.minimums import classes_of
from yoloslim.pruning.operations import CONVOLUTIONS
from yoloslim.pruning.overrides import ignored_groups
from yoloslim.pruning.programme import Programme, Term
from yoloslim.pruning.selection import Selection, candidate_groups, nothing_to_prune

LayerCost = Callable[[str, int, int], float]
"""Path of a layer, channels in and out -> cost, such as milliseconds; more channels never cost less."""

MOST_PAIRS = 20_000
"""Pairs of a layer's widths that are told apart in all, about: where there were more, bundles are larger."""
FEWEST_BUNDLES = 8
"""Bundles of a class that are not made larger for that."""
MOST_SUMS = 64
"""Widths at most that classes read side by side add up to: where there are more, the next larger of these counts."""


def within_budget(
    model: nn.Module, coupling: Coupling, request: PruneRequest, scores: Scores, cost: LayerCost, share: float
) -> BoolArray:
    """Choose the groups that stay so that the layers cost no more than a share of what they do.

    Args:
        model: the network that was traced; read only.
        coupling: of its channels.
        request: see `budget_of`.
        scores: what each channel matters; those of channels that go together are added up.
        cost: of a convolution by its widths.
        share: of the present cost, in (0, 1].

    Raises:
        PruneError: the minimums leave more, or nothing can be pruned.
    """
    budget = budget_of(model, coupling, request, scores, cost)
    return budget.kept(budget.widths(share * budget.total).removed)


def budget_of(
    model: nn.Module,
    coupling: Coupling,
    request: PruneRequest,
    scores: Scores,
    cost: LayerCost,
    paths: Collection[str] | None = None,
) -> "Budget":
    """Lay out what may go of a network.

    Args:
        model: the network that was traced; read only.
        coupling: of its channels.
        request: scope, layers that are ignored, minimums, and `round_to`, which is the size of a bundle.
        scores: what each channel matters; those of channels that go together are added up.
        cost: of a layer by its widths.
        paths: the layers that cost anything; None takes the convolutions.

    Raises:
        PruneError: nothing can be pruned.
    """
    value, scored = np.zeros(coupling.groups), np.zeros(coupling.groups, np.bool_)
    for path, values in scores.items():
        np.add.at(value, coupling.layers[path].outputs, values)
        scored[coupling.layers[path].outputs] = True
    candidates = candidate_groups(coupling, request.scope) & scored & ~ignored_groups(coupling, request.ignored_layers)
    if not candidates.any():
        raise PruneError(nothing_to_prune(coupling, request))
    if paths is None:
        paths = [path for path in coupling.layers if isinstance(model.get_submodule(path), CONVOLUTIONS)]
    return Budget(coupling, candidates, value, cost, paths, request.round_to, request.min_channels, request.layer_keep)


@dataclass(frozen=True)
class Class:
    """Channels that pass the same layers.

    Attributes:
        bundles: of groups that may go, the weakest first.
        lost: what is lost once so many bundles are gone, from none to all.
        gone: channels that are gone then.
    """

    bundles: list[NDArray[np.int64]]
    lost: list[float]
    gone: list[int]


@dataclass(frozen=True)
class Widths:
    """What the budget leaves.

    Attributes:
        removed: bundles of each class that go.
        cost: of what is left.
        gap: how much less could be lost at most, relatively.
    """

    removed: tuple[int, ...]
    cost: float
    gap: float


Side = tuple[int, tuple[tuple[int, int], ...]]
"""Widest that a side of a layer can be, and the classes in it with how many of its channels one of theirs is."""


class Budget:
    """What may go of a network, and which widths fit a cost."""

    def __init__(
        self,
        coupling: Coupling,
        candidates: BoolArray,
        value: NDArray[np.float64],
        cost: LayerCost,
        paths: Collection[str],
        step: int = 8,
        min_channels: int = 1,
        layer_keep: float = 0.0,
    ) -> None:
        """Lay out bundles.

        Args:
            coupling: of its channels.
            candidates: (groups,) true where a group may go.
            value: (groups,) what a group matters, additive: its Taylor score, say, summed over its members.
            cost: of a layer by its widths.
            paths: the layers that cost anything.
            step: channels of a bundle, or a multiple where widths would be too many.
            min_channels, layer_keep: what every layer keeps at least; always one bundle.
        """
        self.coupling, self.candidates, self.cost = coupling, candidates, cost
        self.classes: list[Class] = []
        members = classes_of(coupling, candidates)
        examples = [int(groups[0]) for groups, _ in members]
        self.sides = {path: self._sides(path, examples) for path in coupling.layers if path in paths}
        for times in (1, 2, 4, 8, 16, 32):
            self.classes = [
                _class(groups, value, max(1, step // gcd(step, copies)), times, -(-min_channels // copies), layer_keep)
                for groups, copies in members
            ]
            if sum(len(self._widths(one)) * len(self._widths(two)) for one, two in self.sides.values()) <= MOST_PAIRS:
                break
        nothing, everything = [0] * len(self.classes), [len(each.bundles) for each in self.classes]
        self.total, self.least = self.cost_of(nothing), self.cost_of(everything)

    def _sides(self, path: str, examples: list[int]) -> tuple[Side, Side]:
        """Both sides of a layer, by one group of each class."""
        layer = self.coupling.layers[path]
        inputs, outputs = (
            (len(channels), tuple((k, n) for k, group in enumerate(examples) if (n := int((channels == group).sum()))))
            for channels in (layer.inputs, layer.outputs)
        )
        return inputs, outputs

    def cost_of(self, removed: Collection[int]) -> float:
        """Cost of what is left without so many bundles of each class."""
        gone = [each.gone[count] for each, count in zip(self.classes, removed, strict=True)]
        return sum(self.cost(path, *(_width(side, gone) for side in sides)) for path, sides in self.sides.items())

    def kept(self, removed: Collection[int]) -> BoolArray:
        """(groups,) which stay without so many bundles of each class."""
        keep = np.ones(self.coupling.groups, np.bool_)
        for each, count in zip(self.classes, removed, strict=True):
            for bundle in each.bundles[:count]:
                keep[bundle] = False
        return keep

    def selection(self, kept: BoolArray, scores: Scores, asked: float) -> Selection:
        """What stays, as selections are told of: a percent was asked for, and so much of what is scored goes."""
        entries = np.concatenate([self.coupling.layers[path].outputs for path in scores])
        removed = float(100 * (~kept[entries[self.candidates[entries]]]).mean())
        return Selection(kept, self.candidates, max(0.0, round(asked, 3)), removed, 0.0, {}, 100.0)

    def widths(self, target: float) -> Widths:
        """The widths that lose least and cost no more than a target.

        Raises:
            PruneError: the minimums leave more than that, or no widths are found in time.
        """
        if target < self.least:
            raise PruneError(
                f"a cost of {target:.4g} is out of reach: the minimums leave {self.least:.4g}; ask for that, or lower "
                "min_channels or layer_keep"
            )
        programme, choices, costs, fixed = self._programme
        found = programme.solve([(v, cost / self.total) for v, cost in costs], (target - fixed) / self.total)
        removed = tuple(int(found.values[variables].argmax()) for variables in choices)
        return Widths(removed, self.cost_of(removed), found.gap)

    @cached_property
    def _programme(self) -> tuple[Programme, list[list[int]], list[Term], float]:
        """The programme, each class's choice, the terms of the cost, and what no choice changes of it."""
        programme, everything = Programme(), sum(each.lost[-1] for each in self.classes) or 1.0
        choices = [programme.choice([lost / everything for lost in each.lost]) for each in self.classes]
        costs: list[Term] = []
        fixed, known = 0.0, dict[Side, list[int]]()
        for path, sides in self.sides.items():
            for side in sides:
                if side not in known:
                    known[side] = self._choice_of_side(programme, choices, side)
            (ins, by_in), (outs, by_out) = ((self._widths(side), known[side]) for side in sides)
            if not by_in and not by_out:
                fixed += self.cost(path, ins[0], outs[0])
            elif not by_in:
                costs += [(v, self.cost(path, ins[0], out)) for v, out in zip(by_out, outs, strict=True)]
            elif not by_out:
                costs += [(v, self.cost(path, width, outs[0])) for v, width in zip(by_in, ins, strict=True)]
            elif by_in == by_out:
                costs += [(v, self.cost(path, *both)) for v, *both in zip(by_in, ins, outs, strict=True)]
            else:
                for width, row in zip(ins, programme.pairs(by_in, by_out), strict=True):
                    costs += [(v, self.cost(path, width, out)) for v, out in zip(row, outs, strict=True)]
        return programme, choices, costs, fixed

    def _widths(self, side: Side) -> list[int]:
        """All that a side of a layer can have: by the bundles of its class, ascending of several classes."""
        widest, parts = side
        if len(parts) < 2:
            return [widest - parts[0][1] * gone for gone in self.classes[parts[0][0]].gone] if parts else [widest]
        gone = {0}
        for number, times in parts:
            gone = {a + times * b for a in gone for b in self.classes[number].gone}
        widths = sorted(widest - each for each in gone)
        places = np.linspace(0, len(widths) - 1, min(MOST_SUMS, len(widths))).round().astype(int)
        return [widths[place] for place in places]

    def _choice_of_side(self, programme: Programme, choices: list[list[int]], side: Side) -> list[int]:
        """A variable for each width that a side of a layer can have; none where it has but one."""
        widest, parts = side
        if len(parts) < 2:
            return choices[parts[0][0]] if parts else []
        widths = self._widths(side)
        variables = programme.choice([0.0] * len(widths))
        enough = [(v, float(width)) for v, width in zip(variables, widths, strict=True)]
        for number, times in parts:
            gone = self.classes[number].gone
            enough += [(v, float(times * less)) for v, less in zip(choices[number], gone, strict=True)]
        programme.constrain(enough, widest, np.inf)
        return variables


def _class(
    groups: NDArray[np.int64], value: NDArray[np.float64], step: int, times: int, min_groups: int, layer_keep: float
) -> Class:
    """Bundles of some groups: of so many steps, or fewer where there would be too few bundles."""
    width = step * min(times, max(1, len(groups) // (step * FEWEST_BUNDLES)))
    order = groups[np.argsort(-value[groups], kind="stable")]
    least = max(width, -(-max(min_groups, int(len(groups) * layer_keep)) // width) * width)
    # what is no whole bundle goes first
    bundles = [order[i : i + width] for i in range(least, len(order), width)][::-1]
    lost = [0.0, *accumulate(float(value[bundle].sum()) for bundle in bundles)]
    return Class(bundles, lost, [0, *accumulate(map(len, bundles))])


def _width(side: Side, gone: list[int]) -> int:
    """Of a side, where so many channels of each class are gone."""
    widest, parts = side
    return widest - sum(times * gone[number] for number, times in parts)
