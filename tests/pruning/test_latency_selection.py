"""A budget of time is met as measured, though the table of layers is not what a network takes."""

import numpy as np
import pytest
from tests.pruning.test_budget import COUPLING, EVEN, MODEL, product

from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.latency_selection import ALLOWED, SLOPE, select_by_latency
from yoloslim.pruning.surgery import cut


def measure(keep: np.ndarray) -> float:
    """Half of the time is none of the layers', and the rest not in proportion."""
    small = cut(MODEL, COUPLING, keep)
    return 10 + 10 * (sum(m.in_channels * m.out_channels for m in (small.a, small.b, small.c)) / 2400) ** 1.5


def select(**asked: object):  # type: ignore[no-untyped-def]
    request = PruneRequest("coupled", round_to=1, **asked)  # type: ignore[arg-type]
    return select_by_latency(MODEL, COUPLING, request, EVEN, product, measure)


@pytest.mark.parametrize(
    ("asked", "target"), [({"target_latency_ms": 15}, 15), ({"target_speedup": 1.6}, 12.5), ({"percent": 20}, 16)]
)
def test_the_budget_is_met_as_measured(asked: dict[str, float], target: float) -> None:
    selection, found = select(**asked)
    assert found["dense_ms"] == 20
    assert found["target_ms"] == pytest.approx(target)
    assert (1 - ALLOWED) * target <= measure(selection.keep) == found["measured_ms"] <= target
    assert len(found["measured"]) <= 6
    assert found["table_dense_ms"] == pytest.approx(2400, rel=SLOPE)
    assert found["predicted_ms"] == pytest.approx(20 * found["table_ms"] / found["table_dense_ms"])
    assert selection.requested_percent == pytest.approx(100 * (1 - target / 20))
    assert 0 < selection.effective_percent < 100


def test_a_table_that_tells_nothing_does_not_end_in_the_smallest_network() -> None:
    request = PruneRequest("coupled", round_to=1, target_latency_ms=15)
    _, found = select_by_latency(MODEL, COUPLING, request, EVEN, lambda *_: 1.0, measure)
    assert (1 - ALLOWED) * 15 <= found["measured_ms"] <= 15


def test_bundles_too_large_to_meet_the_budget_leave_the_nearest_below_it() -> None:
    request = PruneRequest("coupled", round_to=32, target_latency_ms=19.9)
    selection, found = select_by_latency(MODEL, COUPLING, request, EVEN, product, measure)
    assert found["measured_ms"] <= 19.9
    assert len(found["measured"]) == len({step["table_ms"] for step in found["measured"]})  # none twice
    assert (~selection.keep).sum() == 32


def test_a_budget_that_is_met_already_cuts_nothing() -> None:
    selection, found = select(target_latency_ms=21)
    assert selection.keep.all()
    assert found["smallest_ms"] is None


def test_a_budget_below_the_minimums_names_the_smallest() -> None:
    request = PruneRequest("coupled", round_to=8, target_latency_ms=10)
    least = 10 + 10 * (120 / 2400) ** 1.5  # 10.1118, which is rounded up
    assert 10.11 < least <= 10.12
    with pytest.raises(PruneError, match=r"target_latency_ms=10 is out of reach: 20 ms .* at least 10\.12 ms \(1\.97 "):
        select_by_latency(MODEL, COUPLING, request, EVEN, product, measure)


def test_layers_that_are_ignored_keep_their_channels() -> None:
    selection, _ = select(target_latency_ms=17, ignored_layers=("b",))
    assert selection.keep[COUPLING.layers["b"].outputs].all()
    assert not selection.keep[COUPLING.layers["a"].outputs].all()
