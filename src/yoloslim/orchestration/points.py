"""One point of a sweep in one checkout, as DVC stages: a plain function of a small description.

It may run anywhere that has a checkout with the same cache or remote: in a thread, in a Prefect task, on a Dask worker.
What it returns is small too: the results themselves are files, which DVC restores in other checkouts.
"""

import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock

from yoloslim.config import Params, load_params
from yoloslim.config.edit import set_list
from yoloslim.errors import YoloslimError
from yoloslim.files import read_json
from yoloslim.orchestration.leases import ALL, lease, visible_gpus
from yoloslim.orchestration.mending import mend
from yoloslim.orchestration.process import CommandError, go_on, stream
from yoloslim.sweeping.search import Ask, Measured
from yoloslim.sweeping.space import HERE, Variant

WORK = Path(".cache") / "sweep"
"""Below the checkout: logs, locks and notes of a sweep; git and DVC ignore it."""
STAGES = {
    "probe": ("probe@{}",),
    "finetune": ("prune@{}", "finetune@{}", "export@{}", "atc@{}"),
    "measure": ("prune@{}", "finetune@{}", "measure@{}", "export@{}", "atc@{}", "ascend_eval@{}"),
}
BEFORE_CUTS = ("code", "data", "baseline", "sparse", "ranking")
OF_BASELINE = ("export_baseline", "atc_baseline")
SHARED = (*BEFORE_CUTS, "measure_baseline", *OF_BASELINE, "ascend_eval_baseline")
"""Stages that every point needs, by any way."""
OF_CONTROL = ("control@{}", "measure_control@{}", "export_control@{}", "atc_control@{}", "ascend_eval_control@{}")
CONTROLS = "models/control/"
MAY_PASS = (
    "Unable to acquire lock",
    "Connection refused",
    "Connection reset",
    "Connection aborted",
    "timed out",
    "cannot be reached",
    "Temporary failure in name resolution",
    "another process of this training is gone",
    "exited with -9",
    "exited with -15",
    "exited with 137",
    "exited with 143",
)
"""What output says when the cause may be gone the next time: locks, networks, processes that were killed."""
KEPT = 100_000
"""Characters of the log of a job that failed."""
BUSY = "is busy, it is being blocked by"
FULL = ("No space left on device", "Disk quota exceeded")


def taught_by(params: Params) -> tuple[str, ...]:
    """The control that teaches all percents, if one does: its stage."""
    teacher = params.finetune.teacher
    return (f"control@{teacher.removeprefix(CONTROLS).strip('/')}",) if teacher.startswith(CONTROLS) else ()


@dataclass(frozen=True)
class Job:
    """What to run, and in which variant of the project.

    `probe` cuts and measures; `finetune` makes the model and its exports; `measure` times them too. Speeds can be
    compared only if they were taken on one machine with nothing else running, so `measure` is apart: the sweep runs it
    in its own checkout, one at a time; it restores what `finetune` made elsewhere.

    Attributes:
        kind: which of these.
        percent: of which point.
        variant: of which variant.
        alone: no other runs beside it: on a CPU it waits for those before it and has all cores, which do not change it.
    """

    kind: Literal["probe", "finetune", "measure"]
    percent: int
    variant: Variant = HERE
    alone: bool = field(default=False, compare=False)

    @property
    def point(self) -> str:
        """Name of the point."""
        return self.variant.point(self.percent)

    @property
    def name(self) -> str:
        """For people, logs and Prefect."""
        return f"{self.kind} {self.point} %"

    @property
    def targets(self) -> tuple[str, ...]:
        """DVC stages, in order."""
        return tuple(stage.format(self.percent) for stage in STAGES[self.kind])


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: which.
        seconds: it took.
        error: why it failed; empty if it did not.
        may_pass: the cause may be gone the next time.
        disk_full: it failed since the disk is full.
        log: of a job that failed, the file that its output went to, on the machine where it ran.
        output: the end of that file.
    """

    job: Job
    seconds: float
    error: str = ""
    may_pass: bool = False
    disk_full: bool = False
    log: str = ""
    output: str = ""


def is_full(text: str) -> bool:
    """Whether an error says that the disk is full."""
    return any(sign in text for sign in FULL)


def log_of(job: Job) -> str:
    """Name of the file, below `.cache/sweep` of the checkout, that a job's output goes to."""
    return f"{job.kind}-{job.percent}"


def run_job(
    job: Job,
    checkout: Path,
    listen: Callable[[str], None] = lambda line: None,
    *,
    upstream: bool = False,
    fds: Sequence[int] = (),
) -> Outcome:
    """Run the stages of a job in a checkout; those that are done there, or in the cache, are not run again.

    Never raises for a stage that fails: the outcome says so. Output goes to `.cache/sweep/<kind>-<percent>.log`.

    Args:
        job: which.
        checkout: where.
        listen: is told every line of the output.
        upstream: see to the stages that these depend on too, as a fresh checkout needs.
        fds: descriptors of locks that the stages hold.
    """
    start = time.monotonic()
    try:
        list_percents(checkout, "probes" if job.kind == "probe" else "percents", [job.percent])
        everything = job.kind == "measure" or (job.alone and not visible_gpus())
        reproduce(job.targets, checkout, log_of(job), listen, single=not upstream, everything=everything, fds=fds)
    except (CommandError, YoloslimError) as error:
        text, log = str(error), checkout / WORK / f"{log_of(job)}.log"
        may_pass = any(sign in text for sign in MAY_PASS)
        return Outcome(job, time.monotonic() - start, text, may_pass, is_full(text), str(log), _end_of(log))
    return Outcome(job, time.monotonic() - start)


def _end_of(log: Path) -> str:
    """The last of a log, or nothing where there is none."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-KEPT:]
    except OSError:
        return ""


def reproduce(
    targets: Sequence[str],
    checkout: Path,
    log: str,
    listen: Callable[[str], None] = lambda line: None,
    *,
    single: bool = False,
    everything: bool = False,
    fds: Sequence[int] = (),
) -> None:
    """Run `dvc repro` on leased devices.

    Args:
        targets: stages; none is all of them.
        checkout: where.
        log: name of the file for the output.
        listen: is told every line of it too.
        single: the targets alone and not what they depend on.
        everything: lease every device of the machine, so that no training disturbs what is timed.
        fds: descriptors of locks that the stages hold.

    Raises:
        CommandError: it failed; the message holds the reason that the stage gave, and where the log is. Or all was
            stopped.
    """
    mend(checkout)
    params = load_params(checkout / "params.yaml")
    count = ALL if everything else params.train.devices if visible_gpus() else 1
    command = [
        sys.executable,
        "-m",
        "dvc",
        "--wait-for-lock",
        "repro",
        *(["--single-item"] if single else []),
        *targets,
    ]
    path = checkout / WORK / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    last: deque[str] = deque(maxlen=200)
    with path.open("w", encoding="utf-8") as stream_out:

        def say(line: str) -> None:
            last.append(line)
            stream_out.write(line + "\n")
            stream_out.flush()
            listen(line)

        while True:
            try:
                with lease(count, slots=params.sweep.workers) as held:
                    return stream(command, say, checkout, {**environment(), **held.environment}, (*held.fds, *fds))
            except CommandError as error:
                blockers = blocking(last)
                if not blockers:
                    raise CommandError(f"{reason(last)} ({path})") from error
            say(f"waiting for process {', '.join(map(str, blockers))}, which runs stages of this checkout")
            while any(psutil.pid_exists(pid) for pid in blockers):
                go_on()
                time.sleep(0.5)
            last.clear()


def blocking(lines: Sequence[str]) -> list[int]:
    """Processes that DVC says it cannot go on beside: such as the stages of a sweep that was killed."""
    if not any(BUSY in line for line in lines):
        return []
    return [int(found[1]) for line in lines if (found := re.match(r"\s*\(PID (\d+)\): ", line))]


def reason(lines: Sequence[str]) -> str:
    """The lines of an output that tell why it failed: the stage's own error, and DVC's."""
    shown = [line.strip() for line in lines if re.match(r"\s*(error|ERROR|\w*Error\b)", line)]
    told = [line for line in shown if not line.startswith("ERROR: failed to reproduce")]
    return "; ".join(dict.fromkeys((told or shown or list(lines))[-3:])) or "no output"


def environment() -> dict[str, str]:
    """Stages call `python`: the one that runs the sweep comes first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}


def list_percents(checkout: Path, key: Literal["percents", "probes"], wanted: Sequence[int]) -> None:
    """Add percents to a list of a checkout's params.yaml, which makes their stages exist."""
    lock = checkout / WORK / "params.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        path = checkout / "params.yaml"
        present: tuple[int, ...] = getattr(load_params(path), key)
        if not set(wanted) <= set(present):
            set_list(path, key, sorted({*present, *wanted}))


def read_point(checkout: Path, ask: Ask, known: Measured) -> Measured:
    """What is known of a point, once what was asked for has run; only files that this has made are read."""
    metrics, name = checkout / "metrics", f"{ask.percent}.json"
    if ask.kind == "probe":
        return replace(known, before=read_json(metrics / "probe" / name))
    before = known.before or read_json(metrics / "prune" / name)
    return Measured(before, read_json(metrics / "finetune" / name), read_json(metrics / "ascend_eval" / name))
