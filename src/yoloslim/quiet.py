"""Hold back what other packages log or print."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

TALKATIVE = ("lightning_fabric", "asyncssh", "torch")
"""Packages that tell at every use what they do, PyTorch where its import was interrupted."""


def hush() -> None:
    """Let packages that tell of every step tell of warnings alone from now on."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def quiet() -> Iterator[None]:
    """Let nothing below an error be logged inside."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def silent(stream: int = 2) -> Iterator[None]:
    """Let nothing be written to standard error (or output, 1) inside, by libraries in C++ either."""
    kept = os.dup(stream)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream)
    try:
        yield
    finally:
        os.dup2(kept, stream)
        os.close(kept)
        os.close(nothing)
