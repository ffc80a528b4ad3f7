"""Start a command as a person would, kill it in one of many ways, and see what is left of it."""

import contextlib
import ctypes
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

GRACE_S = 180.0
"""How long a command may take to end after it was told to; whoever lives longer is killed, and counted."""
GO_ON_S = 900.0
"""The same where the signal went to another process, so that it may go on to its end."""


@dataclass(frozen=True)
class Way:
    """How to kill: by which signals in turn, and whom: the `group`, the `parent` alone, one `process` below
    it, or one whose command line matches what stands there instead."""

    whom: str
    signals: tuple[signal.Signals, ...]

    @property
    def pattern(self) -> str:
        """Of the command line that is aimed at; empty if none is."""
        return "" if self.whom in ("group", "parent", "process") else self.whom

    def __str__(self) -> str:
        return f"{'+'.join(each.name[3:] for each in self.signals)} to the {self.whom}"


WAYS = tuple(
    Way(whom, signals)
    for whom in ("group", "parent", "process")
    for signals in ((signal.SIGKILL,), (signal.SIGTERM,), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT))
)


def adopt_orphans() -> None:
    """Make this process the parent of whatever loses its own below it, as init or `docker run --init` is.

    In a container whose first process collects nobody, the killed stay as zombies, and DVC takes the locks of a zombie
    for those of a living process.
    """
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what shells start in the background ignores it, children too


def collect_orphans(but: int) -> None:
    """Let go of adopted processes that have ended, all but one."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if child.pid != but and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, 0)


class Running:
    """A command in a session of its own, its output in a file."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> int | None:
        """Exit status, or None if it still runs after so long."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        collect_orphans(but=self.process.pid)
        return self.process.returncode

    def wait_for(self, way: Way, seconds: float) -> int | None:
        """As `wait`; the seconds begin when the processes that a way aims at are there."""
        while way.pattern and self.process.poll() is None and not _like(way.pattern):
            time.sleep(0.2)
        return self.wait(seconds)

    def below(self) -> list[psutil.Process]:
        """Processes that it started, and theirs."""
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def kill(self, way: Way, rng: random.Random) -> str:
        """Kill it; returns whom it met."""
        name = "all"
        for number, each in enumerate(way.signals):
            if number:
                time.sleep(rng.uniform(0.05, 2))
            if way.whom == "group":
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, each)
                continue
            victims = [] if way.whom == "parent" else self.below()
            if way.pattern:
                victims = _like(way.pattern)
            victim = rng.choice(victims) if victims else None
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if victim is None:
                    name = "parent"
                    self.process.send_signal(each)
                else:
                    name = _words(victim)[-80:]
                    victim.send_signal(each)
        return name

    def end(self, seconds: float) -> bool:
        """Wait until it has ended; False if it had to be killed after so long."""
        if self.wait(seconds) is not None:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return False


def _like(pattern: str) -> list[psutil.Process]:
    """Processes below the campaign whose command lines match: servers are often nobody's else."""
    return [each for each in psutil.Process().children(recursive=True) if re.search(pattern, _words(each))]


def _words(process: psutil.Process) -> str:
    """The command line of a process; empty if it is gone."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
