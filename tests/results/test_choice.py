"""Which model is recommended."""

from dataclasses import replace

import pytest

from tests.results.made import finished
from yoloslim.report.tables import recommendation
from yoloslim.report.wording import why
from yoloslim.results.choice import dense_of, indistinct, recommended
from yoloslim.results.records import Row


@pytest.mark.parametrize(
    ("accuracies", "winner"),
    [({30: 0.79, 50: 0.78, 70: 0.7}, 50), ({30: 0.6, 50: 0.65}, 50), ({30: 0.82, 70: 0.81}, 70)],
)
def test_the_smallest_good_model_is_recommended_else_the_most_accurate(
    accuracies: dict[int, float], winner: int
) -> None:
    rows = [finished(0, 0.8, 2.0), *(finished(p, map50, 2 - p / 50) for p, map50 in accuracies.items())]
    best = recommended(rows)
    assert best is not None
    assert best.percent == winner


def test_nothing_is_recommended_without_anything_to_compare() -> None:
    assert recommended([finished(0, 0.8, 2.0)]) is None
    assert recommended([finished(50, 0.8, 2.0)]) is None
    assert recommended([]) is None


def test_what_only_trained_longer_is_no_gain() -> None:
    control = replace(finished(0, 0.9, 2.0), name="control", kind="control")
    rows = [finished(0, 0.8, 2.0), control, finished(30, 0.88, 1.4), finished(50, 0.82, 1.0)]
    best = recommended(rows)
    assert best is not None
    assert best.percent == 30  # 50 is above the baseline, and 0.08 below the same network trained for as long
    assert dense_of(rows) == control
    assert recommendation(best, rows).startswith(
        "30 % pruned and finetuned: mAP50 0.880 (baseline 0.800, trained for as long"
    )
    assert why(best, rows).endswith("mAP50 against the dense model trained for as many epochs.")


def of_seeds(row: Row, mean: float, deviation: float) -> Row:
    return replace(row, trained=row.trained | {"repeats": 3, "map50_mean": mean, "map50_std": deviation})


def test_models_within_one_standard_deviation_cannot_be_told_apart() -> None:
    dense, once = finished(0, 0.8, 2.0), finished(90, 0.79, 0.2)
    near = of_seeds(finished(30, 0.80, 1.4), 0.80, 0.012)
    mine = of_seeds(finished(50, 0.79, 1.0), 0.79, 0.004)
    far = of_seeds(finished(70, 0.78, 0.6), 0.7859, 0.004)
    rows = [dense, near, mine, of_seeds(finished(80, 0.7, 0.5), 0.7, 0.004), far, once]
    assert indistinct(mine, rows) == [near]  # 0.0041 from `far`
    assert indistinct(once, rows) == []
    assert recommendation(mine, rows).endswith(
        " By the mAP50 of 3 seeds (0.790 ± 0.004) it cannot be told apart from 30 % pruned (0.800 ± 0.012)."
    )
    assert "told apart" not in recommendation(once, rows)
