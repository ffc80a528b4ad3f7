import pytest

from yoloslim.config.results import SweepResult
from yoloslim.config.sweep import Constraints, Objective
from yoloslim.errors import PruneError
from yoloslim.sweeping.champion import is_better

CHAMPION = {"map50": 0.78, "params_m": 0.9, "latency_ms": 5.0, "fps": 200.0, "size_mb": 3.6}


def sweep(objective: Objective) -> SweepResult:
    constraints = Constraints(max_map_drop=0.03, max_size_mb=4.0)
    known = {"baseline": {"map50": 0.8}, "sparse": {}, "probes": 0, "finetunings": 0, "grid_finetunings": 86}
    return SweepResult(
        **{"name": "a", "objective": objective, "constraints": constraints, "axes": {}, "cliff": None, "points": ()},
        **{"front": (), "winner": None, "why": "", "seconds": 0.0, **known},
    )


@pytest.mark.parametrize(
    ("objective", "change", "expected"),
    [
        ("fastest", {}, False),
        ("fastest", {"latency_ms": 4.0}, True),
        ("fastest", {"latency_ms": 4.9}, False),  # within what a repeated measurement would swap
        ("fastest", {"latency_ms": 6.0, "params_m": 0.1}, False),
        ("smallest", {"params_m": 0.8, "latency_ms": 6.0}, True),
        ("smallest", {"params_m": 1.0, "map50": 0.8}, False),
        ("accurate", {"map50": 0.781}, True),
        ("accurate", {"map50": 0.779, "params_m": 0.1}, False),
    ],
)
def test_better_is_what_the_sweep_wants_and_equal_is_not(
    objective: Objective, change: dict[str, float], expected: bool
) -> None:
    assert is_better(CHAMPION | change, CHAMPION, sweep(objective)) is expected


def test_a_champion_that_misses_a_constraint_gives_way() -> None:
    assert is_better(CHAMPION, CHAMPION | {"latency_ms": 1.0, "size_mb": 4.1}, sweep("fastest"))
    assert is_better(CHAMPION, CHAMPION | {"latency_ms": 1.0, "map50": 0.76}, sweep("fastest"))


def test_a_champion_without_metrics_is_an_error_that_names_one() -> None:
    with pytest.raises(PruneError, match="no metric 'map50'"):
        is_better(CHAMPION, {}, sweep("fastest"))
