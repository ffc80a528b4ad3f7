"""Give bad inputs to the commands people type, each in a process of its own, and judge how they answer.

A case runs the very entry of its command (`yoloslim`, a stage script, the boards' runner) in a fork of this process,
which has imported everything already: 300 cases take a minute instead of twenty.
"""

import logging
import os
import resource
import runpy
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import psutil

from tests.pace import slowness

ROOT = Path(__file__).parents[2]
CPU_S, WALL_S = 5.0, 120.0
"""What an answer may take. The first is what is asked for, of the machine that it was set on; the second also ends what
waits without computing."""
MEMORY_MB, LIBRARIES_MB = 2000, 200
"""What an answer may take of memory, PyTorch's 500 MB included, and how much of its own a process has after `warm`."""

Expected = Literal["refused", "said", "answered"]
"""`refused`: the exit status is not 0, and the output names the case's `hint`; `said`: it may be 0 if the output names
the hint; `answered`: either, as both are right or it depends on the version of a library. None may end in a traceback,
a signal or a hang."""


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name: `<kind>/<what is wrong>`.
        make: writes the input into the folder it is given, and returns the command: `yoloslim ...`,
            `python -m module ...`.
        expected: see `Expected`.
        hint: words that the output must hold, so that the right thing is complained about.
    """

    name: str
    make: Callable[[Path], Sequence[str]]
    expected: Expected = "refused"
    hint: str = ""

    @property
    def kind(self) -> str:
        """Group of the case."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class Outcome:
    """How a command answered.

    Attributes:
        faults: empty if it answered well; of traceback, hang, memory, accepted, vague (refused without naming it).
        code: exit status, negative for a signal.
        output: both streams.
        cpu_s: seconds of processor time.
        peak_mb: largest resident memory.
    """

    case: Case
    faults: tuple[str, ...]
    code: int
    output: str
    cpu_s: float
    peak_mb: float


def attempt(case: Case, folder: Path) -> Outcome:
    """Make the input of a case in `folder`, a new one, run its command there, and remove the folder."""
    folder.mkdir(parents=True)
    try:
        command = case.make(folder)
        code, output, cpu_s, peak_mb = run_forked(command, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(case, judge(case, code, output, cpu_s / slowness(), peak_mb), code, output, cpu_s, peak_mb)


def judge(case: Case, code: int, output: str, cpu_s: float = 0, peak_mb: float = 0) -> tuple[str, ...]:
    """What is wrong with an answer."""
    faults = []
    if "Traceback (most recent call last)" in output or (code < 0 and code != -signal.SIGKILL):
        faults.append("traceback")
    if code == -signal.SIGKILL or cpu_s > CPU_S:
        faults.append("hang")
    if peak_mb > MEMORY_MB:
        faults.append("memory")
    if case.expected == "refused" and code == 0:
        faults.append("accepted")
    if code != 0 and not output.strip():
        faults.append("vague")
    if case.expected != "answered" and case.hint and case.hint not in output and not faults:
        faults.append("accepted" if code == 0 else "vague")
    return tuple(faults)


def run_forked(
    command: Sequence[str], folder: Path, address_space: int = 16 * 2**30, wall_s: float = WALL_S
) -> tuple[int, str, float, float]:
    """Exit status, output, seconds of processor time and peak MB of a command run in a fork of this process.

    It may have so many bytes of address space: a bomb shall not take the machine along.
    """
    out = folder.with_name(f"{folder.name}.out")
    memory = psutil.Process().memory_info()
    inherited = max(0.0, (memory.rss - memory.shared) / 2**20 - LIBRARIES_MB)  # of what this process did before
    child = os.fork()
    if child == 0:
        _become(command, folder, out, address_space)
    deadline, status = time.monotonic() + wall_s, 0
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    output = out.read_text(encoding="utf-8", errors="replace") if out.is_file() else ""
    out.unlink(missing_ok=True)
    peak_mb = usage.ru_maxrss / 1024 - inherited
    return os.waitstatus_to_exitcode(status), output, usage.ru_utime + usage.ru_stime, peak_mb


def _become(command: Sequence[str], folder: Path, out: Path, address_space: int) -> NoReturn:
    """Be that command, and end."""
    code = 70
    try:
        stream = os.open(out, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)  # not pytest's
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)  # as Python makes it
        logging.root.handlers.clear()
        resource.setrlimit(resource.RLIMIT_AS, (address_space,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(folder)
        try:
            _enter(command)
            code = 0
        except SystemExit as end:
            code = _exit_code(end)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _enter(command: Sequence[str]) -> None:
    program, *arguments = command
    if program == "yoloslim":
        from yoloslim.cli import main

        sys.argv = [program, *arguments]
        main()
        return
    assert program == "python"
    assert arguments[0] == "-m", "only modules are known here"
    sys.argv = arguments[1:]
    sys.modules.pop(arguments[1], None)
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)


def environment() -> dict[str, str]:
    """Variables of a real command: this checkout's library and stages."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}


def warm() -> None:
    """Import what commands import, so that forks have it; threads are started in forks only."""
    sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "src")) if path not in sys.path]
    import cv2
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import torch

    import yoloslim.cli
    import yoloslim.data.prepare
    import yoloslim.deploy.export_model
    import yoloslim.deploy.int8
    import yoloslim.models.foreign.load
    import yoloslim.pruning.certified_cut
    import yoloslim.runner.__main__  # noqa: F401

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
