import pytest

from yoloslim.errors import PruneError
from yoloslim.pruning.optimum import Constraints, choose, find_cliff, next_points

PUBLISHED = [
    ({0.7: 0.627, 0.8: 0.626, 0.88: 0.621, 0.89: 0.621, 0.9: 0.484, 0.91: 0.14, 0.92: 0.00118, 0.93: 0.0}, 0.89),
    (
        {
            **{0.5: 0.594, 0.6: 0.584, 0.7: 0.581, 0.8: 0.578, 0.82: 0.575, 0.84: 0.574},
            **{0.86: 0.571, 0.88: 0.57, 0.89: 0.204, 0.9: 0.0329},
        },
        0.88,
    ),
    ({16: 0.397, 17: 0.342, 18: 0.205, 19: 0.108, 20: 0.0964}, 17),
    ({14: 0.507, 17: 0.419, 18: 0.377, 19: 0.121, 20: 0.055}, 18),
]


@pytest.mark.parametrize(("points", "pick"), PUBLISHED)
def test_the_cliff_of_published_tables_is_where_their_author_saw_it(points: dict[float, float], pick: float) -> None:
    assert find_cliff(points) == pick
    assert find_cliff(dict(reversed(points.items()))) == pick


def test_without_a_cliff_the_last_point_is_picked() -> None:
    assert find_cliff({10: 0.6, 20: 0.55, 30: 0.5}) == 30


def test_nan_is_a_collapse() -> None:
    assert find_cliff({10: 0.6, 20: float("nan")}) == 10


def test_no_points_is_an_error() -> None:
    with pytest.raises(PruneError, match="no measured point"):
        find_cliff({})


@pytest.mark.parametrize("cliff", [5, 13, 37, 52, 71, 88, 90, 99])
def test_the_search_closes_in_on_any_cliff(cliff: int) -> None:
    points, rounds = {0: 0.7}, 0
    while proposals := next_points(points, low=10, high=90, coarse=20, fine=2):
        assert not set(proposals) & set(points)
        points |= {percent: 0.69 if percent <= cliff else 0.1 for percent in proposals}
        rounds += 1
    found = find_cliff(points)
    assert found <= cliff
    assert found == 90 or cliff - found <= 2
    assert rounds <= 5


def test_the_first_round_is_coarse() -> None:
    assert next_points({}) == (10, 30, 50, 70, 90)


CANDIDATES = {
    30: {"map50": 0.72, "params_m": 4.2, "latency_ms": 25.0, "fps": 40.0},
    50: {"map50": 0.71, "params_m": 2.8, "latency_ms": 20.0, "fps": 50.0},
    70: {"map50": 0.66, "params_m": 1.5, "latency_ms": 12.0, "fps": 83.0},
}


def test_the_fastest_candidate_within_the_allowed_drop_is_chosen() -> None:
    choice = choose(CANDIDATES, 0.725, Constraints(max_map_drop=0.02))
    assert choice.percent == 50
    assert choice.rejected[70] == "map50 fell by 0.0650, allowed 0.02"
    assert choice.rejected[30] == "latency_ms 25 is not better than 20"


def test_budgets_reject_with_their_reasons() -> None:
    limits = Constraints(max_map_drop=0.1, max_params_m=2, max_latency_ms=10, min_fps=90)
    choice = choose(CANDIDATES, 0.725, limits, "params_m")
    assert choice.percent is None
    assert choice.rejected[70] == "latency_ms 12, wanted at most 10; fps 83, wanted at least 90"


def test_a_missing_metric_is_named() -> None:
    with pytest.raises(PruneError, match="candidate 30 has no metric 'gflops'"):
        choose(CANDIDATES, 0.725, Constraints(), "gflops")
