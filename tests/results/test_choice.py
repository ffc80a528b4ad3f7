"""Which model is recommended."""

import pytest

from tests.results.made import finished
from yoloslim.results.choice import recommended


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
