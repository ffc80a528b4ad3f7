import pytest

from yoloslim.config.sweep import Constraints
from yoloslim.errors import PruneError
from yoloslim.sweeping.constraints import choose, closest, misses

DENSE = {"map50": 0.725, "params_m": 7.0, "latency_ms": 40.0, "fps": 25.0, "size_mb": 28.0}
LIGHT = {"map50": 0.72, "params_m": 4.2, "latency_ms": 25.0, "fps": 40.0, "size_mb": 16.8}
HALF = {"map50": 0.71, "params_m": 2.8, "latency_ms": 20.0, "fps": 50.0, "size_mb": 11.2}
TINY = {"map50": 0.66, "params_m": 1.5, "latency_ms": 12.0, "fps": 83.0, "size_mb": 6.0}
ALL = {"30": LIGHT, "50": HALF, "70": TINY}


def texts(metrics: dict[str, float], **bounds: float | None) -> list[str]:
    return [miss.text for miss in misses(metrics, DENSE, Constraints(**bounds))]


def test_map_may_fall_to_the_bound_and_no_further() -> None:
    assert texts(HALF, max_map_drop=0.015) == []
    assert texts(TINY, max_map_drop=0.03) == ["loses 0.065 map50, allowed 0.03"]
    assert texts(TINY, max_map_drop=None) == []


def test_every_budget_is_told_with_value_and_bound() -> None:
    found = texts(TINY, max_map_drop=0.1, max_params_m=1, max_latency_ms=10, min_fps=90, max_size_mb=5)
    assert found == [
        "has 1.5 M parameters, wanted at most 1",
        "has 12 ms, wanted at most 10",
        "has 83 images/s, wanted at least 90",
        "has 6 MB, wanted at most 5",
    ]


def test_each_objective_has_its_winner() -> None:
    assert choose(ALL, "fastest") == "70"
    assert choose(ALL, "smallest") == "70"
    assert choose(ALL, "accurate") == "30"


def test_speeds_within_five_percent_are_equal_and_the_smaller_wins() -> None:
    assert choose({"a": HALF | {"latency_ms": 11.6}, "b": TINY}, "fastest") == "b"
    assert choose({"a": HALF | {"latency_ms": 11.3}, "b": TINY}, "fastest") == "a"


def test_speed_paired_with_the_dense_model_counts_before_speeds_taken_apart() -> None:
    assert choose({"a": HALF | {"speedup": 3.0}, "b": TINY | {"speedup": 2.0}}, "fastest") == "a"
    assert choose({"a": HALF | {"speedup": 3.0}, "b": TINY}, "fastest") == "b"


def test_the_closest_misses_the_smallest_share() -> None:
    assert closest(ALL, DENSE, Constraints(max_map_drop=0, max_params_m=2.7)) == "50"
    assert closest(ALL, DENSE, Constraints(max_map_drop=0.001)) == "30"


@pytest.mark.parametrize("value", [None, float("nan"), "fast"])
def test_a_missing_metric_is_named(value: object) -> None:
    with pytest.raises(PruneError, match="no metric 'latency_ms' among map50"):
        misses(TINY | {"latency_ms": value}, DENSE, Constraints(max_latency_ms=10))
