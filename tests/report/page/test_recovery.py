"""The cliff, and what a reader is told of it."""

import pytest

from yoloslim.report.page.recovery import Cliff, cliff_of


@pytest.mark.parametrize(
    ("points", "cliff", "text"),
    [
        ({0: 0.7, 30: 0.7, 50: 0.65, 70: 0.3}, Cliff(50, 70), "The cliff lies between 50 % and 70 %"),
        ({0: 0.7, 30: 0.2}, Cliff(0, 30), "it comes before the first point"),
        ({0: 0.7, 30: 0.69}, Cliff(30, None), "No cliff up to 30 %"),
        ({0: 0.013, 30: 0.021, 50: 0.002}, None, ""),
        ({30: 0.7}, None, ""),
        ({}, None, ""),
    ],
)
def test_the_cliff_in_words(points: dict[int, float], cliff: Cliff | None, text: str) -> None:
    found = cliff_of(points)
    assert found == cliff
    assert text in (found.text if found else "")
