"""Channels under a budget of time: bundles go in the order of what they matter for each millisecond that they save.

What a bundle saves depends on how wide its producers and its readers are by then: a layer's time is a function of both
its sides. So bundles are taken away one by one, and after each the savings of all that share a layer with it are
reckoned anew from a table of measured times (the idea of HALP, arXiv 2110.10811, with exact marginal costs).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from math import gcd

import numpy as np
from numpy.typing import NDArray
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import BoolArray, Coupling
from yoloslim.pruning.importance import Scores
from yoloslim.pruning.minimums import classes_of
from yoloslim.pruning.overrides import ignored_groups
from yoloslim.pruning.selection import candidate_groups

LayerCost = Callable[[str, int, int], float]
"""Path of a convolution, channels in and out -> cost, such as milliseconds."""


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
    return budget.reduce_to(share * budget.total)


def budget_of(model: nn.Module, coupling: Coupling, request: PruneRequest, scores: Scores, cost: LayerCost) -> "Budget":
    """Lay out what may go of a network.

    Args:
        model: the network that was traced; read only.
        coupling: of its channels.
        request: scope, layers that are ignored, minimums, and `round_to`, which is the size of a bundle.
        scores: what each channel matters; those of channels that go together are added up.
        cost: of a convolution by its widths.

    Raises:
        PruneError: nothing can be pruned.
    """
    value, scored = np.zeros(coupling.groups), np.zeros(coupling.groups, np.bool_)
    for path, values in scores.items():
        np.add.at(value, coupling.layers[path].outputs, values)
        scored[coupling.layers[path].outputs] = True
    candidates = candidate_groups(coupling, request.scope) & scored & ~ignored_groups(coupling, request.ignored_layers)
    if not candidates.any():
        raise PruneError(f"scope '{request.scope}' finds no prunable channel in this network")
    paths = [path for path in coupling.layers if isinstance(model.get_submodule(path), nn.Conv2d)]
    return Budget(coupling, candidates, value, cost, paths, request.round_to, request.min_channels, request.layer_keep)


class Budget:
    """Removes bundles from a network until its cost fits."""

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
            step: channels of a bundle.
            min_channels, layer_keep: what every layer keeps at least; always one bundle.
        """
        self.coupling, self.candidates, self.cost = coupling, candidates, cost
        self.paths = [path for path in coupling.layers if path in paths]
        self.keep = np.ones(coupling.groups, np.bool_)
        self.widths = {p: [len(coupling.layers[p].inputs), len(coupling.layers[p].outputs)] for p in self.paths}
        self.layer_costs = {p: cost(p, *self.widths[p]) for p in self.paths}
        self.bundles: list[list[NDArray[np.int64]]] = []
        self.touches: list[dict[str, tuple[int, int]]] = []
        self.values: list[list[float]] = []
        for groups, copies in classes_of(coupling, candidates):
            width = max(1, step // gcd(step, copies))
            order = groups[np.argsort(-value[groups], kind="stable")]
            least = max(width, -(-max(min_channels, int(len(groups) * layer_keep)) // width) * width)
            rest = [order[i : i + width] for i in range(least, len(order), width)]
            self.bundles.append(rest[::-1])  # the weakest first; what is no whole bundle goes first of all
            self.values.append([float(value[bundle].sum()) for bundle in rest[::-1]])
            self.touches.append(self._per_group(groups[:1]))
        self.readers: dict[str, list[int]] = defaultdict(list)
        for number, touched in enumerate(self.touches):
            for path in touched:
                self.readers[path].append(number)

    def _per_group(self, one: NDArray[np.int64]) -> dict[str, tuple[int, int]]:
        """Layer -> how many of its inputs and outputs one group of a class is."""
        found = {}
        for path in self.paths:
            layer = self.coupling.layers[path]
            counts = int((layer.inputs == one[0]).sum()), int((layer.outputs == one[0]).sum())
            if any(counts):
                found[path] = counts
        return found

    @property
    def total(self) -> float:
        """Cost of what is left."""
        return sum(self.layer_costs.values())

    def reduce_to(self, target: float) -> BoolArray:
        """Remove bundles until the cost is no more than a target; gives (groups,) which stay.

        Raises:
            PruneError: the minimums leave more than that.
        """
        left = self.total
        if left <= target:
            return self.keep
        for _, left in self.removals():
            if left <= target:
                return self.keep
        raise PruneError(
            f"a cost of {target:.4g} is out of reach: the minimums leave {left:.4g}; ask for that, or lower "
            "min_channels or layer_keep"
        )

    def removals(self) -> Iterator[tuple[NDArray[np.int64], float]]:
        """Remove bundle after bundle, down to the minimums: the groups of each, and the cost of what is left then."""
        total = self.total
        ratios = {number: self._ratio(number) for number in range(len(self.bundles)) if self.bundles[number]}
        while ratios:
            number = min(ratios, key=ratios.__getitem__)
            bundle = self.bundles[number][0]
            total -= self._remove(number)
            yield bundle, total
            changed = {other for path in self.touches[number] for other in self.readers[path]}
            for other in changed:
                if self.bundles[other]:
                    ratios[other] = self._ratio(other)
                else:
                    ratios.pop(other, None)

    def _ratio(self, number: int) -> float:
        """What the weakest bundle of a class matters for what it saves."""
        saved = self._saved(number)
        return self.values[number][0] / saved if saved > 0 else float("inf")

    def _after(self, number: int, path: str) -> tuple[int, int]:
        size = len(self.bundles[number][0])
        (less_in, less_out), (c_in, c_out) = self.touches[number][path], self.widths[path]
        return c_in - size * less_in, c_out - size * less_out

    def _saved(self, number: int) -> float:
        return sum(
            self.layer_costs[path] - self.cost(path, *self._after(number, path)) for path in self.touches[number]
        )

    def _remove(self, number: int) -> float:
        """Take the weakest bundle of a class away; gives what that saved."""
        before = sum(self.layer_costs[path] for path in self.touches[number])
        for path in self.touches[number]:
            self.widths[path] = list(self._after(number, path))
            self.layer_costs[path] = self.cost(path, *self.widths[path])
        self.keep[self.bundles[number].pop(0)] = False
        self.values[number].pop(0)
        return before - sum(self.layer_costs[path] for path in self.touches[number])
