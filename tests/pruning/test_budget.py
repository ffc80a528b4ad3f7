"""Channels under a budget: no widths that fit it lose less, and costs follow both sides of a layer."""

from itertools import product as every_pair

import numpy as np
import pytest
import torch
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning import budget as budgets
from yoloslim.pruning.budget import Budget, budget_of, within_budget
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.surgery import cut


class Chain(nn.Module):
    """Three convolutions, the middle one residual to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.na = nn.Conv2d(3, 32, 1, bias=False), nn.BatchNorm2d(32)
        self.b, self.nb = nn.Conv2d(32, 64, 1, bias=False), nn.BatchNorm2d(64)
        self.c = nn.Conv2d(64, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.nb(self.b(torch.relu(self.na(self.a(x)))))))


MODEL = Chain()
COUPLING = find_coupling(MODEL)
REQUEST = PruneRequest("coupled", round_to=8)
EVEN = {"na": np.ones(32, np.float32), "nb": np.ones(64, np.float32)}


def product(path: str, c_in: int, c_out: int) -> float:
    return float(c_in * c_out)


def widths(keep: np.ndarray) -> tuple[int, int]:
    return int(keep[COUPLING.layers["na"].outputs].sum()), int(keep[COUPLING.layers["nb"].outputs].sum())


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
def test_the_cut_network_costs_what_was_reckoned(share: float) -> None:
    keep = within_budget(MODEL, COUPLING, REQUEST, EVEN, product, share)
    small = cut(MODEL, COUPLING, keep)
    cost = sum(m.in_channels * m.out_channels for m in (small.a, small.b, small.c))
    assert cost <= share * (3 * 32 + 32 * 64 + 64 * 4)
    assert all(width % 8 == 0 for width in widths(keep))


def test_of_equals_as_few_go_as_can() -> None:
    # 8 of `a` save 8 * (3 + 64) = 536, 8 of `b` 8 * (32 + 4) = 288, or 96 where 8 of `a` are left
    assert widths(within_budget(MODEL, COUPLING, REQUEST, EVEN, product, 0.8)) == (24, 64)
    a, b = widths(within_budget(MODEL, COUPLING, REQUEST, EVEN, product, 0.25))
    assert (a, b) == (8, 48)  # 3 * 8 + 8 * 48 + 48 * 4 = 600, a quarter


def test_what_matters_more_for_its_time_stays() -> None:
    heavy = {"na": np.full(32, 100, np.float32), "nb": np.ones(64, np.float32)}
    a, b = widths(within_budget(MODEL, COUPLING, REQUEST, heavy, product, 0.5))
    assert a == 32
    assert b < 32


def test_the_weakest_channels_of_a_layer_go() -> None:
    scores = EVEN | {"nb": np.arange(64, dtype=np.float32)}
    keep = within_budget(MODEL, COUPLING, REQUEST, scores, product, 0.8)
    kept = keep[COUPLING.layers["nb"].outputs]
    assert kept.tolist() == sorted(kept.tolist())


def test_a_budget_below_the_minimums_says_what_they_leave() -> None:
    with pytest.raises(PruneError, match=r"out of reach: the minimums leave 120;"):  # 3 * 8 + 8 * 8 + 8 * 4
        within_budget(MODEL, COUPLING, REQUEST, EVEN, product, 0.01)


class Fork(nn.Module):
    """Two layers that a third reads side by side, and a last one that reads it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.na = nn.Conv2d(3, 24, 1, bias=False), nn.BatchNorm2d(24)
        self.b, self.nb = nn.Conv2d(3, 40, 1, bias=False), nn.BatchNorm2d(40)
        self.c, self.nc = nn.Conv2d(64, 32, 1, bias=False), nn.BatchNorm2d(32)
        self.d = nn.Conv2d(64, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side_by_side = torch.cat((torch.relu(self.na(self.a(x))), torch.relu(self.nb(self.b(x)))), 1)
        c = torch.relu(self.nc(self.c(side_by_side)))
        return self.d(torch.cat((c, c), 1))


def forked(seed: int) -> Budget:
    """A fork whose layers cost something else at each pair of widths, never less for more channels."""
    model, rng = Fork(), np.random.default_rng(seed)
    coupling = find_coupling(model)
    scores = {name: rng.random(len(coupling.layers[name].outputs)).astype(np.float32) for name in ("na", "nb", "nc")}
    tables = {name: rng.random((65, 65)).cumsum(0).cumsum(1) for name in "abcd"}

    def cost(path: str, c_in: int, c_out: int) -> float:
        return float(tables[path][c_in, c_out])

    return budget_of(model, coupling, REQUEST, scores, cost)


def lost(budget: Budget, removed: tuple[int, ...]) -> float:
    return sum(each.lost[count] for each, count in zip(budget.classes, removed, strict=True))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_no_widths_that_fit_lose_less(seed: int, share: float) -> None:
    budget = forked(seed)
    every = every_pair(*(range(len(each.bundles) + 1) for each in budget.classes))
    target = share * budget.total
    best = min(lost(budget, removed) for removed in every if budget.cost_of(removed) <= target)
    found = budget.widths(target)
    assert found.cost == budget.cost_of(found.removed) <= target
    assert best <= lost(budget, found.removed) <= best * 1.006
    assert found.gap <= 0.005


def test_more_sums_of_widths_than_are_told_apart_never_cost_more(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = forked(0).widths(0.5 * forked(0).total)
    monkeypatch.setattr(budgets, "MOST_SUMS", 3)
    budget = forked(0)
    found = budget.widths(0.5 * budget.total)
    assert found.cost <= 0.5 * budget.total
    assert lost(budget, found.removed) >= lost(budget, exact.removed)
    assert budget.widths(budget.least).removed == tuple(len(each.bundles) for each in budget.classes)


def test_where_widths_are_too_many_bundles_are_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes() -> list[set[int]]:
        budget = budget_of(MODEL, COUPLING, PruneRequest("coupled", round_to=1), EVEN, product)
        return [{len(bundle) for bundle in each.bundles} for each in budget.classes]

    assert sizes() == [{1}, {1}]
    monkeypatch.setattr(budgets, "MOST_PAIRS", 32 * 64)  # without those of the first and the last layer
    assert sizes() == [{2}, {2}]
    monkeypatch.setattr(budgets, "MOST_PAIRS", 0)
    assert sizes() == [{4}, {8}]  # eight bundles, one of which stays


def test_a_layer_s_minimum_counts_its_channels_and_not_what_goes_together() -> None:
    """One of four groups of a convolution has a quarter of its channels, and each goes with three others."""
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 48, 1, groups=4), nn.Conv2d(48, 4, 1))
    coupling = find_coupling(model, (1, 3, 8, 8))
    scores = {path: np.ones(len(coupling.layers[path].outputs), np.float32) for path in ("0", "1")}
    request = PruneRequest(round_to=1, min_channels=12, importance="l2")
    budget = budget_of(model, coupling, request, scores, product)
    small = cut(model, coupling, budget.kept([len(each.bundles) for each in budget.classes]))
    assert [layer.out_channels for layer in small] == [12, 12, 4]  # type: ignore[union-attr]
