"""Sentences of the report."""

import pytest

from tests.results.made import finished
from yoloslim.report.wording import careful, why


@pytest.mark.parametrize(
    ("dense", "half", "said"),
    [
        (
            0.046,
            0.04,
            "Careful: already the baseline finds next to nothing (mAP50 0.046). That is no matter of pruning",
        ),
        (0.8, 0.05, "Careful: this model finds next to nothing (mAP50 0.050); no pruned one is better."),
        (0.8, 0.7, ""),
    ],
)
def test_models_that_find_nothing_are_not_praised(dense: float, half: float, said: str) -> None:
    rows = [finished(0, dense, 2.0), finished(50, half, 1.0)]
    assert careful(rows[1], rows).startswith(said)
    assert bool(careful(rows[1], rows)) == bool(said)
    assert ("Careful" in why(rows[1], rows)) == bool(said)
