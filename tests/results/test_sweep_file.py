"""A sweep's result, and which model it points to."""

from pathlib import Path
from typing import Any

from tests.report.page.conftest import sweep_result
from tests.results.made import PARAMS, put
from yoloslim.config.results import SweepResult
from yoloslim.results.choice import best_row
from yoloslim.results.records import read_rows
from yoloslim.results.results import read_results
from yoloslim.results.sweep_file import chosen_point


def result(**changes: Any) -> SweepResult:
    return SweepResult.model_validate(sweep_result() | changes)


def test_no_file_is_no_sweep_and_the_recommended_model_counts(root: Path) -> None:
    assert read_results(root, PARAMS).sweep is None
    best = best_row(read_rows(root), None)
    assert best is not None
    assert best.name == "prune@50"


def test_the_winner_of_a_sweep_counts_more_than_the_recommended_model(root: Path) -> None:
    put(root / "metrics/sweep.json", sweep_result("30"))
    best = read_results(root, PARAMS).best
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
    assert read_results(root, PARAMS).best is None
    sweep = read_results(root, PARAMS | {"prune": {"scope": "free"}}).sweep
    assert sweep is not None
    assert {point.name: point.overrides for point in sweep.points} == {
        "scope=free/50": {},
        **{name: {"prune.scope": "as before"} for name in ("30", "70", "80")},
    }
    best = best_row(read_rows(root), sweep)
    assert best is not None
    assert best.name == "prune@50"
