import math

import pytest

from yoloslim.sweeping.boundary import last_true, next_looks


def looks(end: int, count: int, guess: int, ways: int = 1) -> tuple[int, int]:
    """Index found and number of rounds, for a condition that holds up to `end`."""
    known: dict[int, bool] = {}
    rounds = 0
    while tries := next_looks(known, count, guess, ways):
        assert not set(tries) & set(known)
        assert all(0 <= index < count for index in tries)
        known |= {index: index <= end for index in tries}
        rounds += 1
    return last_true(known, count)[0], rounds


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 18, 33])
def test_no_guess_costs_more_than_bisection(count: int) -> None:
    for end in range(-1, count):
        for guess in range(count):
            found, rounds = looks(end, count, guess)
            assert found == end
            assert rounds <= math.ceil(math.log2(count + 1))


@pytest.mark.parametrize("ways", [2, 3, 8])
def test_several_at_a_time_take_fewer_rounds(ways: int) -> None:
    for end in range(-1, 40):
        found, rounds = looks(end, 40, 0, ways)
        assert found == end
        assert rounds <= math.ceil(math.log(41, ways + 1)) + 1


def test_the_first_look_is_at_the_guess() -> None:
    assert next_looks({}, 18, 9) == [9]


def test_a_dent_is_passed_over() -> None:
    assert last_true({3: True, 5: False, 7: True, 9: False}, 18) == (7, 9)
