"""Where the system kills one process of a training, the others end too, and say why."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_fabric.strategies.launchers import subprocess_script

from yoloslim.errors import TrainError

_GONE = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")
"""What gloo and NCCL say where the process at the other end has ended."""
_SENTENCE = (
    "another process of this training is gone: perhaps the system killed it, as it does where memory ends "
    "(`dmesg` tells). The last checkpoint is whole, and the same command goes on from it"
)
_NO_LOSS = (None, 0, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""States of a process that runs, is done, or was asked to stop, as all are then."""
_PATIENCE = 5.0
"""Seconds that PyTorch has to notice a lost process; gloo needs far less, and NCCL may wait for it without end."""


@contextmanager
def told_of_lost_processes() -> Iterator[None]:
    """End with a sentence where another process of the training is gone, whoever notices it first.

    Raises:
        TrainError: in the place of what PyTorch says. Where PyTorch says nothing, this process writes the sentence and
            ends with exit code 1: a collective operation that waits for a lost process can be left in no other way.
    """
    over = threading.Event()

    def watch(children: list["subprocess.Popen[bytes]"]) -> None:
        threading.Thread(target=_watch, args=(children, over), name="lost-processes", daemon=True).start()

    # Lightning's own watch kills this process, too, by a signal that leaves it no word
    kept, subprocess_script._launch_process_observer = subprocess_script._launch_process_observer, watch
    try:
        yield
    except RuntimeError as error:
        if not any(text in str(error) for text in _GONE):
            raise
        raise TrainError(_SENTENCE) from error
    finally:
        over.set()
        subprocess_script._launch_process_observer = kept


def _watch(children: list["subprocess.Popen[bytes]"], over: threading.Event) -> None:
    while not over.wait(1.0):
        if any(child.poll() not in _NO_LOSS for child in children):
            break
    if over.wait(_PATIENCE):
        return
    for child in children:
        child.kill()
    sys.stdout.flush()
    print(f"error: {_SENTENCE}", file=sys.stderr, flush=True)
    os._exit(1)
