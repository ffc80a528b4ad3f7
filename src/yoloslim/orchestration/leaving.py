"""How a command ends whose Prefect server is away: Prefect would wait for it, for minutes.

It tries each request six times, 70 s in all, and each event eleven times, one event after the other; there is no
setting for events. What only a server that is away would take is not worth that.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from yoloslim.orchestration.process import is_running
from yoloslim.orchestration.server import is_away
from yoloslim.orchestration.stopping import asked

PATIENCE_S = 5.0
"""How long Prefect may take to end a flow, and then the process, while its server is away."""


@contextmanager
def insisting() -> Iterator[None]:
    """Repeat the signal that stops a flow when our own commands have ended and Prefect waits for a server that is away.

    To be used in the main thread, in which signals raise.
    """
    over, waiting = threading.Event(), threading.current_thread()

    def insist() -> None:
        since = time.monotonic()
        while not over.wait(1):
            number = asked()
            if not number or is_running():
                since = time.monotonic()
            elif time.monotonic() - since > PATIENCE_S and is_away() and not over.is_set() and waiting.ident:
                signal.pthread_kill(waiting.ident, number)
                since = time.monotonic()

    thread = threading.Thread(target=insist, daemon=True, name="insist")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def leaving() -> Iterator[None]:
    """End the process, with the status that it has by then, if Prefect still waits after a command's end.

    To be used around all that a command does.
    """
    status = 1
    try:
        yield
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        raise
    finally:
        if "prefect" in sys.modules:
            threading.Thread(target=_leave, args=(status,), daemon=True, name="leave").start()


def _leave(status: int) -> None:
    time.sleep(PATIENCE_S)
    while not is_away():
        time.sleep(1)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
