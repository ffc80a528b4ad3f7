"""Which channel groups stay. No weight is touched here: selection reads scores and gives a mask."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

import numpy as np
from numpy.typing import NDArray
from torch import nn

from yoloslim.errors import OutOfReachError, PruneError
from yoloslim.prune_request import PruneRequest, Scope
from yoloslim.pruning.counting import Counter
from yoloslim.pruning.coupling import BoolArray, Coupling, find_coupling
from yoloslim.pruning.importance import Scores, group_costs
from yoloslim.pruning.minimums import raise_to_minimum, round_widths
from yoloslim.pruning.normalise import ranking_scores
from yoloslim.pruning.overrides import ignored_groups, layer_shares

Measure = Callable[[BoolArray], float]
"""Milliseconds of the network that a mask of kept groups leaves."""


@dataclass(frozen=True)
class Selection:
    """Which channel groups stay.

    Attributes:
        keep: (groups,) true for groups that stay.
        candidates: (groups,) true for groups that the scope allows to remove.
        requested_percent: what was asked for, or what the search for a target arrived at.
        effective_percent: share of the prunable channels (entries of scored layers) that go.
        threshold: score below which channels go.
        clipped: layer path -> channels given back to keep it at its minimum.
        percent_limit: largest percent at which no layer loses all its channels by itself.
    """

    keep: BoolArray
    candidates: BoolArray
    requested_percent: float
    effective_percent: float
    threshold: float
    clipped: dict[str, int]
    percent_limit: float


def candidate_groups(coupling: Coupling, scope: Scope) -> BoolArray:
    """(groups,) true where the scope allows a group to go.

    `source` leaves alone whatever a residual sum ties, and every BatchNorm inside the branch of such a sum:
    on YOLOv5 that is `cv1` of a C3 with shortcuts and both convolutions of its bottlenecks.
    """
    allowed = ~coupling.protected
    if scope == "free":
        allowed &= ~coupling.residual
    if scope == "source":
        for path in _ignored_norms(coupling):
            allowed[coupling.layers[path].outputs] = False
    return allowed


def penalised_bns(coupling: Coupling | nn.Module, scope: Scope) -> list[str]:
    """Paths of the BatchNorms whose scales the sparsity penalty acts on, in order of execution."""
    if isinstance(coupling, nn.Module):
        coupling = find_coupling(coupling)
    allowed = candidate_groups(coupling, scope)
    return [path for path in coupling.batchnorms if allowed[coupling.layers[path].outputs].any()]


def _ignored_norms(coupling: Coupling) -> set[str]:
    inside = {path for unit in coupling.units for path in unit.batchnorms}
    tied = {path for path in coupling.batchnorms if coupling.residual[coupling.layers[path].outputs].any()}
    return inside | tied


def select_channels(
    model: nn.Module,
    coupling: Coupling,
    request: PruneRequest,
    *,
    scores: Scores | None = None,
    layer_costs: dict[str, float] | None = None,
    measure: Measure | None = None,
) -> Selection:
    """Choose the groups that stay.

    Args:
        model: the network that was traced; read only.
        coupling: of its channels.
        request: what is asked for.
        scores: importance per layer and channel; by default as `request.importance` says.
        layer_costs: module path -> cost, for `cost_power`; by default MACs.
        measure: milliseconds of what a mask leaves, for `target_latency_ms` and `target_speedup`.

    Raises:
        PruneError: nothing can be pruned, a score is not finite, or a target is out of reach.
    """
    scores = ranking_scores(model, coupling, request, scores)
    counter = Counter(model, coupling, request.imgsz)
    if request.cost_power and layer_costs is None:
        everything = np.ones(coupling.groups, np.bool_)
        layer_costs = {layer.path: layer.macs for layer in counter.layers(everything) if layer.macs}
    ranking = _Ranking(coupling, request, scores, layer_costs or {})
    if request.target_params_m is not None:
        return _search(ranking, lambda keep: counter.params(keep) / 1e6, request.target_params_m, "params_m")
    if request.target_gflops is not None:
        return _search(ranking, lambda keep: counter.macs(keep) * 2e-9, request.target_gflops, "gflops")
    if request.target_latency_ms is None and request.target_speedup is None:
        return ranking.select(request.percent)
    if measure is None:
        name = "target_latency_ms" if request.target_speedup is None else "target_speedup"
        raise PruneError(f"{name} needs a measuring function, measure_ms")
    if request.target_speedup is None:
        return _search(ranking, measure, request.target_latency_ms or 0, "latency_ms", steps=7)
    dense = measure(np.ones(coupling.groups, np.bool_))

    def size(keep: BoolArray) -> float:
        return dense if keep.all() else measure(keep)  # measured once: two measurements differ

    return _search(ranking, size, dense / request.target_speedup, "latency_ms", steps=7)


class _Ranking:
    """Scores in the form that a percent cuts: one entry per prunable channel of each scored layer."""

    def __init__(
        self, coupling: Coupling, request: PruneRequest, scores: Scores, layer_costs: dict[str, float]
    ) -> None:
        self.coupling, self.request = coupling, request
        self.paths = [path for path in coupling.layers if path in scores]
        groups = np.concatenate([coupling.layers[p].outputs for p in self.paths] or [np.zeros(0, np.int64)])
        values = np.concatenate([scores[p] for p in self.paths] or [np.zeros(0, np.float32)])
        if request.cost_power:
            cost = np.maximum(group_costs(coupling, layer_costs), 1e-12)
            values = (values / cost[groups] ** request.cost_power).astype(np.float32)
        scored = np.zeros(coupling.groups, np.bool_)
        scored[groups] = True
        allowed = candidate_groups(coupling, request.scope) & ~ignored_groups(coupling, request.ignored_layers)
        self.candidates = allowed & scored
        self.shares = layer_shares(coupling, self.candidates, request.layer_percents)
        prunable = self.candidates[groups]
        if not prunable.any():
            raise PruneError(nothing_to_prune(coupling, request))
        self.every = groups[prunable]
        for share in self.shares:
            prunable &= ~np.isin(groups, share.groups)
        self.groups = groups[prunable]
        known = self.candidates[groups]
        self.strength = _group_strength(coupling.groups, self.every, values[known], request)
        self.entries = values[prunable] if request.scope in ("source", "slim") else self.strength[self.groups]
        self.sorted = np.sort(self.entries)

    def select(self, percent: float) -> Selection:
        """Cut the ranking at a percent, then honour minimums and rounding."""
        if percent == 0 and not self.shares:
            return Selection(np.ones_like(self.candidates), self.candidates, 0, 0, 0, {}, self.percent_limit())
        keep = ~self.candidates
        keep[self.groups[self._wanted(percent)]] = True
        for share in self.shares:
            order = share.groups[np.argsort(self.strength[share.groups], kind="stable")]
            keep[order] = np.arange(len(order)) >= round(len(order) * share.percent / 100)
        minimums = (self.request.min_channels, self.request.layer_keep)
        keep, clipped = raise_to_minimum(self.coupling, keep, self.strength, *minimums)
        if self.request.round_to > 1:
            keep = round_widths(self.coupling, keep, self.candidates, self.strength, self.request.round_to, *minimums)
        removed = float((~keep[self.every]).mean() * 100)
        threshold = float(self.sorted[self._rank(percent)]) if len(self.sorted) else 0.0
        return Selection(keep, self.candidates, percent, removed, threshold, clipped, self.percent_limit())

    def _rank(self, percent: float) -> int:
        return int(len(self.sorted) * (percent / 100))  # the sources multiply by a fraction, and so truncate

    def _wanted(self, percent: float) -> BoolArray:
        """Entries that reach the threshold. Of exact zeros, which the proximal step makes, only so many go."""
        if not len(self.sorted):  # every layer has a percent of its own
            return np.zeros(0, np.bool_)
        rank = self._rank(percent)
        threshold = self.sorted[rank]
        if self.request.scope == "slim":
            return np.asarray(self.entries > threshold)
        if threshold > 0:
            return np.asarray(self.entries >= threshold)
        wanted = np.ones(len(self.entries), np.bool_)
        wanted[np.lexsort((self.groups, self.entries))[:rank]] = False
        return wanted

    def percent_limit(self) -> float:
        """Position, in the sorted entries, of the weakest among the layers' strongest channels."""
        strongest = []
        for path in self.paths:
            groups = self.coupling.layers[path].outputs
            if self.candidates[groups].all():
                strongest.append(self.strength[groups].max())
        if not len(self.sorted):
            return 100.0
        highest = min(strongest, default=self.sorted[-1])
        return float(np.searchsorted(self.sorted, highest) / len(self.sorted) * 100)


def nothing_to_prune(coupling: Coupling, request: PruneRequest) -> str:
    """That no channel may go, and why."""
    why = f"; what keeps channels whole: {'; '.join(coupling.kept[:3])}" if coupling.kept else ""
    if request.ignored_layers:
        why += f"; ignored layers ({', '.join(request.ignored_layers)}) keep theirs"
    return f"scope '{request.scope}' finds no prunable channel in this network{why}"


def _group_strength(
    count: int, groups: NDArray[np.int64], values: NDArray[np.float32], request: PruneRequest
) -> NDArray[np.float32]:
    """Score of each group; the source rules keep a group for its strongest member."""
    how = "max" if request.scope in ("source", "slim") else request.group_score
    strength = np.zeros(count, np.float64)
    if how == "max":
        np.maximum.at(strength, groups, values)
    else:
        np.add.at(strength, groups, values)
        if how == "mean":
            strength /= np.maximum(np.bincount(groups, minlength=count), 1)
    return strength.astype(np.float32)


NO_FASTER = (
    "no cut makes it faster here: most of its time is spent on other things, or programs beside it were in the way"
)
UNITS = {"params_m": "M parameters", "gflops": "GFLOPs", "latency_ms": "ms"}
"""What a target is a target of, and in what."""


def _search(ranking: _Ranking, size: Measure, target: float, of: str, steps: int = 14) -> Selection:
    """Smallest percent whose result is no larger than the target, by bisection."""
    low, high = 0.0, 99.99
    dense, smallest = ranking.select(low), ranking.select(high)
    whole = size(dense.keep)
    if whole <= target:
        return dense
    least = size(smallest.keep)
    if least > target:
        speedup = ranking.request.target_speedup
        asked = f"target_{of}={target:g}" if speedup is None else f"target_speedup={speedup:g}"
        possible = None if smallest.keep.all() else least
        raise OutOfReachError(out_of_reach(ranking.request, asked, UNITS[of], whole, target, possible))
    best = smallest
    for _ in range(steps):
        middle = (low + high) / 2
        selection = ranking.select(middle)
        if size(selection.keep) <= target:
            best, high = selection, middle
        else:
            low = middle
    return replace(best, requested_percent=round(best.requested_percent, 3))


def out_of_reach(request: PruneRequest, asked: str, unit: str, whole: float, target: float, least: float | None) -> str:
    """Why a target cannot be met, what can, and what stands in the way.

    Args:
        request: what was asked for.
        asked: the target, in words.
        unit: of the numbers.
        whole, target, least: what the network has, what it should come down to, and what it can; None where no channel
            can go.
    """
    floors = [f"round_to {request.round_to}", f"min_channels {request.min_channels}"]
    if request.layer_keep:
        floors.append(f"layer_keep {request.layer_keep:g}")
    if request.ignored_layers:
        floors.append(f"ignored layers ({', '.join(request.ignored_layers)})")
    if request.layer_percents:
        floors.append("layer_percents")
    if request.scope != "coupled":
        floors.append(f"scope '{request.scope}' (coupled leaves less)")
    why = f"{asked} is out of reach: {whole:.4g} {unit} should become {target:.4g}, and {', '.join(floors)}"
    if least is None:
        return f"{why} keep every channel; lower what stands in the way"
    possible, way = f"{_shown(least, 4, ROUND_CEILING)} {unit}", "ask for that, or lower what stands in the way"
    if unit == "ms":
        possible += f" ({_shown(whole / least, 3, ROUND_FLOOR)} times as fast)"
        way = NO_FASTER if least >= whole else way
    return f"{why} leave at least {possible}; {way}"


def _shown(value: float, digits: int, rounding: str) -> str:
    """A number that can be met, rounded so that it still can when somebody asks for it as it is shown."""
    return f"{float(Context(digits, rounding).create_decimal_from_float(value)):.{digits}g}"
