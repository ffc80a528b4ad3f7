"""Where a condition stops to hold along a line of candidates, with as few looks as bisection needs, and no more.

The condition is assumed to hold up to some candidate and not beyond it. A guess makes the search start where the end is
likely, but never costs a look more than halving: each look splits what is left so that both halves can be finished
within the number of looks that plain bisection has left.
"""

import math
from collections.abc import Mapping


def last_true(known: Mapping[int, bool], count: int) -> tuple[int, int]:
    """The last index known to hold (-1: none), and the first known not to hold beyond it (`count`: none).

    A candidate that does not hold below one that does is a dent, and is passed over.
    """
    low = max((index for index, holds in known.items() if holds), default=-1)
    high = min((index for index, holds in known.items() if not holds and index > low), default=count)
    return low, high


def next_looks(known: Mapping[int, bool], count: int, guess: int, ways: int = 1) -> list[int]:
    """Indices to look at next; empty when neighbours are known to hold and not to hold.

    Args:
        known: index -> whether the condition holds there, of those looked at.
        count: candidates are 0 ... count - 1.
        guess: index where the condition may hold for the last time.
        ways: how many to look at side by side.
    """
    low, high = last_true(known, count)
    left = high - low
    """Answers that are still possible: low, low + 1 ... high - 1."""
    if left < 2:
        return []
    if ways > 1:
        return sorted(
            {low + math.ceil(left * way / (ways + 1)) for way in range(1, ways + 1)} & set(range(low + 1, high))
        )
    half = 2 ** (math.ceil(math.log2(left)) - 1)
    middle = low + left // 2
    wanted = guess if low < guess < high else middle
    return [min(max(wanted, high - half), low + half)]
