"""A sweep in words and as a table."""

from typing import Any

import pytest

from tests.report.page.conftest import sweep_result
from yoloslim.config.results import SweepResult
from yoloslim.report.sweep_table import asked_for, effort, sweep_grid
from yoloslim.results.sweep_file import limits


def result(**changes: Any) -> SweepResult:
    return SweepResult.model_validate(sweep_result() | changes)


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
    assert lines["70 % pruned"][:4] == ("cut", "0.350", "–", "–")
    assert (lines["80 % pruned"][0], lines["80 % pruned"][5]) == ("failed", "exited with 1")
    assert "2 finetuned, where trying every percent would finetune 81; it took 1.5 minutes" in effort(result())
