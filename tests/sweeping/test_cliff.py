import pytest

from yoloslim.errors import PruneError
from yoloslim.sweeping.cliff import Fall, coarse_steps, find_fall, next_probes

PUBLISHED = [
    ({0.7: 0.627, 0.8: 0.626, 0.88: 0.621, 0.89: 0.621, 0.9: 0.484, 0.91: 0.14, 0.92: 0.00118, 0.93: 0.0}, 0.89),
    (
        {
            **{0.5: 0.594, 0.6: 0.584, 0.7: 0.581, 0.8: 0.578, 0.82: 0.575, 0.84: 0.574},
            **{0.86: 0.571, 0.88: 0.57, 0.89: 0.204, 0.9: 0.0329},
        },
        0.88,
    ),
    ({16: 0.397, 17: 0.342, 18: 0.205, 19: 0.108, 20: 0.0964}, 17),
    ({14: 0.507, 17: 0.419, 18: 0.377, 19: 0.121, 20: 0.055}, 18),
]


def cliff(points: dict[float, float]) -> float:
    """The last point before the fall, where all that was measured are the steps."""
    return find_fall(points, tuple(points)).last


@pytest.mark.parametrize(("points", "pick"), PUBLISHED)
def test_the_cliff_of_published_tables_is_where_their_author_saw_it(points: dict[float, float], pick: float) -> None:
    assert cliff(points) == pick
    assert cliff(dict(reversed(points.items()))) == pick


def test_without_a_cliff_the_last_point_is_picked() -> None:
    assert cliff({10: 0.6, 20: 0.55, 30: 0.5}) == 30


def test_nan_is_a_collapse() -> None:
    assert cliff({10: 0.6, 20: float("nan")}) == 10


def test_no_points_is_an_error() -> None:
    with pytest.raises(PruneError, match="no measured point"):
        cliff({})


def test_a_steady_slope_is_measured_against_where_it_began() -> None:
    slope = {0: 0.7, 50: 0.7, 52: 0.65, 54: 0.6, 56: 0.54, 58: 0.48, 70: 0.1}
    assert find_fall(slope, (0, 50, 70)) == Fall(54, 56)


def test_a_fall_in_the_first_step_is_before_the_first_point() -> None:
    assert next_probes({0: 0.7, 10: 0.1, 30: 0.0}, (10, 30)) == []
    assert find_fall({0: 0.7, 10: 0.1, 30: 0.0}, (0, 10, 30)) == Fall(0, 10)


def test_the_first_round_is_coarse_and_ends_at_both_ends() -> None:
    assert coarse_steps(10, 95, 20) == (10, 30, 50, 70, 90, 95)
    assert coarse_steps(50, 50, 20) == (50,)
    assert next_probes({0: 0.7}, (10, 30)) == [10, 30]
