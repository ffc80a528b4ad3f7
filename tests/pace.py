"""Limits in seconds, which are of one machine, on others."""

import time
from functools import cache

import numpy as np

WORK_S = 0.1
"""What `work` takes of the machine that the limits are of."""


@cache
def slowness() -> float:
    """How many times longer this machine takes for what it computes than the one that limits are of; 1 at least.

    Of the processor's seconds, whatever else it does, at the slowest of three times.
    """
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return max(1.0, max(times) / WORK_S)


def work() -> None:
    """A loop of Python, then calls of NumPy."""
    sum(number * number % 7 for number in range(500_000))
    np.sort(np.random.default_rng(0).random(700_000))
