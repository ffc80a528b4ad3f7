"""Programmes: against a hand-computed knapsack, and what is said where no solution is found."""

import numpy as np
import pytest

from yoloslim.errors import PruneError
from yoloslim.pruning import programme as programmes
from yoloslim.pruning.programme import Programme


def knapsack() -> tuple[Programme, list[list[int]]]:
    """Two choices of three; what each adds, and what both together cost, is the caller's."""
    programme = Programme()
    return programme, [programme.choice([0.0, 2.0, 5.0]), programme.choice([0.0, 3.0, 4.0])]


@pytest.mark.parametrize(
    ("most", "chosen"),
    [(18, (0, 0)), (17, (1, 0)), (12, (0, 1)), (9, (0, 2)), (8, (0, 2)), (7, (1, 2)), (3, (2, 2))],
)
def test_a_sum_of_what_two_choices_add_is_as_small_as_a_budget_allows(most: float, chosen: tuple[int, int]) -> None:
    programme, (first, second) = knapsack()
    costs = np.array([[18, 12, 8], [14, 10, 7], [9, 6, 3]], float)  # of both together, no sum of two
    both = programme.pairs(first, second)
    found = programme.solve([(both[i][j], costs[i, j]) for i in range(3) for j in range(3)], most)
    assert (found.values[first].argmax(), found.values[second].argmax()) == chosen
    assert found.gap <= programmes.GAP


def test_where_nothing_is_found_the_reason_and_the_way_out_are_said() -> None:
    programme, (first, _) = knapsack()
    with pytest.raises(
        PruneError, match=r"no widths were found in 20 s \(.*infeasible.*\); a larger round_to makes it easier"
    ):
        programme.solve([(first[0], 1.0), (first[1], 1.0), (first[2], 1.0)], 0.5)


def test_it_tells_nothing_on_the_way(capfd: pytest.CaptureFixture[str]) -> None:
    programme, (first, second) = knapsack()
    programme.solve([(v, 1.0) for v in first + second], 2.0)
    print("told")
    assert capfd.readouterr() == ("told\n", "")
