"""Channels under a budget: what saves most for what it matters goes first, and costs follow both sides of a layer."""

import numpy as np
import pytest
import torch
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.budget import within_budget
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


def test_of_equals_the_bundle_that_saves_more_goes_first_as_widths_are_by_then() -> None:
    # a bundle of `a` saves 8 * (3 + 64) = 536, one of `b` 8 * (32 + 4) = 288, or 96 where 8 of `a` are left
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
