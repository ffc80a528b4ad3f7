"""Commands that flows run: their output line by line, and an end for all of them when the flow is stopped."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_running: set[subprocess.Popen[str]] = set()
_guard = threading.Lock()
_stopped = threading.Event()


class CommandError(RuntimeError):
    """A command failed."""


def start_over() -> None:
    """Let commands start again, after `stop_all`."""
    _stopped.clear()


def is_stopped() -> bool:
    """Whether no command may start any more: threads that wait, for a device say, are to give up."""
    return _stopped.is_set()


def go_on() -> None:
    """Go on unless all was stopped.

    Raises:
        CommandError: it was.
    """
    if is_stopped():
        raise CommandError("stopped before it began")


def stream(
    command: Sequence[str],
    say: Callable[[str], None],
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    fds: Sequence[int] = (),
) -> None:
    """Run a command, passing its output on line by line, and descriptors of locks that it holds with this process.

    It gets a session of its own, so that Ctrl-C reaches it once, through `stop_all`, and not from the terminal too.

    Raises:
        CommandError: it failed; the message holds the command, its exit status and its last line. Or all was stopped.
    """
    last = ""
    with _guard:  # `stop_all` sees every command that has started
        go_on()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            encoding="utf-8",
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=fds,
        )
        _running.add(process)
    with process:
        try:
            for line in process.stdout or ():
                last = line.rstrip() or last
                say(line.rstrip())
        except BaseException:
            _signal(process, signal.SIGINT)
            raise
        finally:
            process.wait()
            with _guard:
                _running.discard(process)
    if process.returncode:
        raise CommandError(f"`{' '.join(command)}` ended with status {process.returncode}: {last}")


def without_blanks(say: Callable[[str], None]) -> Callable[[str], None]:
    """Leave out empty lines, which DVC prints between stages."""
    return lambda line: say(line) if line.strip() else None


def is_running() -> bool:
    """Whether a command has not ended yet."""
    with _guard:
        return bool(_running)


def quiet_clients() -> None:
    """Leave it to us to say what happens: HTTP clients log every request to Prefect."""
    for name in ("httpx", "httpcore", "websockets"):
        logging.getLogger(name).setLevel(logging.WARNING)


def stop_all(patience_s: float = 60) -> None:
    """Ask all commands to stop, as Ctrl-C does, and wait until they have: trainings write a checkpoint first.

    None starts until `start_over`: what waits for a device in another thread would have it now, and train.
    """
    _stopped.set()
    with _guard:
        processes = list(_running)
    for process in processes:
        _signal(process, signal.SIGINT)
    deadline = time.monotonic() + patience_s
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
