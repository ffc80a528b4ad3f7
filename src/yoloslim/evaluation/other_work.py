"""What other programs do with this machine while something is timed."""

import os
import time
from types import TracebackType
from typing import Self

import psutil

BUSY = 0.2
"""Cores that others may use before a latency counts as disturbed; a desktop at rest uses less."""


class OtherWork:
    """Cores that programs other than this process and its children used while within, on the average.

    Attributes:
        cores: 0 on a quiet machine; known at the end. Linux counts in hundredths of a second: of less than half a
            second little is known.
    """

    def __init__(self) -> None:
        self.cores = 0.0

    def __enter__(self) -> Self:
        self._start = self._read()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        wall, busy, own = (after - before for after, before in zip(self._read(), self._start, strict=True))
        self.cores = max(0.0, (busy - own) / wall) if wall > 0 else 0.0

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Seconds of the clock, of all cores at work, and of this process and the children that it has waited for."""
        every, own = psutil.cpu_times(), os.times()
        idle = every.idle + getattr(every, "iowait", 0.0)
        guests = getattr(every, "guest", 0.0) + getattr(every, "guest_nice", 0.0)  # counted in user and nice already
        return time.perf_counter(), sum(every) - idle - guests, sum(own[:4])


def taken_away(others: float, threads: int, cores: int) -> float:
    """Cores of other programs that a computation with so many threads misses; 0 where there are enough for all."""
    return others if others + threads > cores + BUSY and disturbed(others) else 0.0


def disturbed(cores: object) -> bool:
    """Whether so much other work makes a latency too long to be compared."""
    return isinstance(cores, int | float) and cores > BUSY


def while_others(cores: float) -> str:
    """Half a sentence that marks a latency."""
    return f"other programs used {cores:.1f} core(s): too long to be compared"
