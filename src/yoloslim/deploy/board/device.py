"""A device to run a job on: this machine's own chip, or a board over SSH."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from yoloslim.deploy.board.bundle import RUNNER, write_runner
from yoloslim.deploy.board.environment import source_named, source_set_env
from yoloslim.deploy.board.job import Backend, BoardRun, Job, Listener, Progress, check_facts, read_run
from yoloslim.deploy.board.target import parse_target
from yoloslim.deploy.quoting import quote
from yoloslim.errors import DeployError
from yoloslim.runner.job import RESULTS

if TYPE_CHECKING:
    from yoloslim.deploy.board.remote import Board


class Device(Protocol):
    """Runs jobs."""

    def probe(self) -> dict[str, Any]:
        """Versions, acl, devices, chip, room; see `runner`'s command `probe`."""
        ...

    def run(self, job: Job, bundle: Path, backend: Backend = "acl", progress: Progress | None = None) -> BoardRun:
        """Run a job and check what comes back."""
        ...

    def tidy(self) -> None:
        """Remove what finished jobs left, once what they found is stored."""
        ...


@dataclass
class Local:
    """This machine, through the same runner in a process of its own.

    Attributes:
        set_env: script that sets CANN's environment; empty takes the first of the usual places that is there.
    """

    set_env: str = ""

    def __str__(self) -> str:
        """For messages."""
        return "this machine"

    def probe(self) -> dict[str, Any]:
        """See `Device.probe`.

        Raises:
            DeployError: the runner does not start.
        """
        with TemporaryDirectory() as folder:
            write_runner(Path(folder) / RUNNER)
            return self._probe(Path(folder))

    def run(self, job: Job, bundle: Path, backend: Backend = "acl", progress: Progress | None = None) -> BoardRun:
        """See `Device.run`.

        Raises:
            DeployError: no CANN or device, an error of the device, or a runner that died.
        """
        with TemporaryDirectory() as name:
            folder = Path(name)
            for file, path in job.files.items():
                shutil.copyfile(path, folder / file)
            facts = self._probe(folder)
            check_facts(facts, 0, bundle, backend, str(self))  # all files are in their place
            listener = Listener(progress)
            done = self._call(folder, ("job", "."), listener)
            if listener.error:
                raise DeployError(f"{self}: {listener.error['message']}")
            if listener.finished is None:
                raise DeployError(f"the runner died (exit status {done.returncode}): {done.stderr.strip()[-300:]}")
            return read_run((folder / RESULTS).read_bytes(), listener.finished, job, facts)

    def tidy(self) -> None:
        """Nothing: a job here leaves nothing behind."""

    def _probe(self, folder: Path) -> dict[str, Any]:
        listener = Listener()
        done = self._call(folder, ("probe",), listener)
        if listener.probe is None:
            raise DeployError(f"the runner does not start on {self}: {done.stderr.strip()[-300:]}")
        return listener.probe

    def _call(self, folder: Path, arguments: Sequence[str], listener: Listener) -> "subprocess.CompletedProcess[str]":
        if self.set_env and not Path(self.set_env).is_file():
            raise DeployError(f"{self.set_env} (ascend.set_env) is missing on {self}")
        source = source_named(self.set_env) if self.set_env else source_set_env()
        script = f"{source}\nexec -- {quote(sys.executable, RUNNER, *arguments)}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=dict(os.environ),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        for line in done.stdout.splitlines():
            listener.hear(line)
        return done


def open_device(target: str, set_env: str = "", python: str = "python3", section: str = "ascend") -> "Board | Local":
    """The device of `<section>.target`; `python` is the interpreter of a board, this machine runs its own.

    Raises:
        DeployError: the target makes no sense.
    """
    board = parse_target(target, f"{section}.target")
    if board is None:
        return Local(set_env)
    from yoloslim.deploy.board.remote import Board  # asyncssh takes a fifth of a second

    return Board(board, set_env, python, section=section)
