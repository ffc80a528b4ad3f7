"""A sweep's result in words and tables, and which model it points to."""

from pathlib import Path
from typing import Any

import pytest

from yoloslim.config.results import SweepResult
from yoloslim.tracking.records import read_rows
from yoloslim.tracking.sweep import asked_for, best_row, chosen_point, effort, limits, read_sweep, sweep_grid

from .conftest import PARAMS, put
from .page.conftest import sweep_result


def result(**changes: Any) -> SweepResult:
    return SweepResult.model_validate(sweep_result() | changes)


def test_no_file_is_no_sweep_and_the_recommended_model_counts(root: Path) -> None:
    assert read_sweep(root, PARAMS) is None
    best = best_row(read_rows(root), None)
    assert best is not None
    assert best.name == "prune@50"


def test_the_winner_of_a_sweep_counts_more_than_the_recommended_model(root: Path) -> None:
    put(root / "metrics/sweep.json", sweep_result("30"))
    best = best_row(read_rows(root), read_sweep(root, PARAMS))
    assert best is not None
    assert best.name == "prune@30"


def test_without_a_winner_the_closest_point_is_looked_at() -> None:
    found = chosen_point(result(winner=None, closest="30"))
    assert found is not None
    assert found.percent == 30
    assert chosen_point(result(winner=None, closest=None)) is None


def test_a_variant_that_was_applied_since_is_here_and_the_others_are_not(root: Path) -> None:
    swept = sweep_result("scope=free/50")
    swept["points"][1] |= {"name": "scope=free/50", "overrides": {"prune.scope": "free"}}
    put(root / "metrics/sweep.json", swept)
    assert best_row(read_rows(root), read_sweep(root, PARAMS)) is None
    sweep = read_sweep(root, PARAMS | {"prune": {"scope": "free"}})
    assert sweep is not None
    assert {point.name: point.overrides for point in sweep.points} == {
        "scope=free/50": {},
        **{name: {"prune.scope": "as before"} for name in ("30", "70", "80")},
    }
    best = best_row(read_rows(root), sweep)
    assert best is not None
    assert best.name == "prune@50"


@pytest.mark.parametrize(
    ("constraints", "bounds", "words"),
    [
        ({"max_map_drop": None}, {}, "the fastest model, whatever it costs"),
        (
            {"max_map_drop": 0.03, "max_latency_ms": 5, "min_fps": 250, "max_size_mb": 2},
            {"map50": 0.769, "latency_ms": 4, "size_mb": 2},  # 250 images/s are stricter than 5 ms
            "the fastest model with at most 0.03 mAP50 lost, at most 5 ms, at least 250 images/s, at most 2 MB",
        ),
    ],
)
def test_constraints_as_bounds_and_in_words(constraints: dict[str, Any], bounds: dict[str, float], words: str) -> None:
    sweep = result(constraints=constraints)
    assert limits(sweep) == pytest.approx(bounds)
    assert asked_for(sweep) == words


def test_the_table_says_how_far_each_point_came() -> None:
    lines = {line[0]: line[1:] for line in sweep_grid(result()).rows}
    assert lines["30 % pruned"][:4] == ("finetuned", "0.395", "0.788", "0.788")
    assert lines["30 % pruned"][5] == "has 1.4 M parameters, wanted at most 1.2"
    assert lines["50 % pruned"][0] == "winner"
    assert lines["70 % pruned"][:4] == ("probed", "0.350", "–", "–")
    assert (lines["80 % pruned"][0], lines["80 % pruned"][5]) == ("failed", "exited with 1")
    assert "2 finetuned, where trying every percent would finetune 81; it took 1.5 minutes" in effort(result())
