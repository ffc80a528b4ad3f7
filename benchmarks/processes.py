"""Trainings in processes of their own, which work side by side and end in time."""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def quiet() -> None:
    """Begin a process: one thread, no line an epoch; it is the first process that asks for an end."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)


@contextmanager
def ending_by(deadline: float) -> Iterator[None]:
    """Interrupt what is done inside, as Ctrl-C would, when `time.monotonic()` has come to a deadline.

    Raises:
        KeyboardInterrupt: less than a second is left.
    """
    left = deadline - time.monotonic()
    if left < 1:
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, left if left < float("inf") else 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
