"""`make repro`: `dvc repro`, with what the percents have to themselves side by side where that is faster.

DVC runs one stage after the other, but several of its processes may work in one checkout as long as outputs differ. On
a CPU two trainings of one thread each do more than one of two threads, and with `train.share` the weights are the same
for any number of threads. So the stages that all share come first; then the cut, its finetuning, export and compilation
of each percent, the controls and the exports of dense models, as many at a time as a sweep would run points; then
`dvc repro` does the rest: what is measured, with nothing beside it.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from yoloslim.config import Params, load_params
from yoloslim.errors import Interrupted, YoloslimError
from yoloslim.orchestration.leases import visible_gpus, workers_of
from yoloslim.orchestration.mending import mend
from yoloslim.orchestration.points import (
    BEFORE_CUTS,
    OF_BASELINE,
    OF_CONTROL,
    STAGES,
    environment,
    reproduce,
    taught_by,
)
from yoloslim.orchestration.process import CommandError, start_over, stop_all, stream
from yoloslim.orchestration.stopping import stoppable
from yoloslim.stages.common import BASELINE

AT_WORK = "`make repro`, `dvc repro` or a sweep is at work in this folder already (process {}); wait for it"
PATIENCE_S = 10
MEASURED, TRAINING = ("measure_", "ascend_eval_"), ("control@", "finetune@")
Say = Callable[[str], None]
_held: list[FileLock] = []
"""Locks of this process: one that nothing refers to is let go."""


def branches(params: Params) -> dict[str, tuple[str, ...]]:
    """What each control and each percent has to itself: name -> its stages up to what is measured, in order.

    A control that teaches the percents comes before them, and is not trained here. What trains nothing is short: it
    goes before the last training, which may be about to wait for the others.
    """
    unmeasured = [stage for stage in OF_CONTROL if not stage.startswith(MEASURED)]
    controls = {which: [stage.format(which) for stage in unmeasured] for which in params.controls}
    untaught = {which: tuple(s for s in stages if s not in taught_by(params)) for which, stages in controls.items()}
    percents = {f"{p} %": tuple(name.format(p) for name in STAGES["finetune"]) for p in params.percents}
    found = {BASELINE: OF_BASELINE} | untaught | percents
    *first, last = [name for name, stages in found.items() if _trains(stages)]
    short = [name for name, stages in found.items() if not _trains(stages)]
    return {name: found[name] for name in (*first, *short, last)}


def _trains(stages: Sequence[str]) -> bool:
    return any(stage.startswith(TRAINING) for stage in stages)


def is_faster(params: Params) -> bool:
    """Whether several trainings at a time do more, and give the same weights as one after the other would."""
    return workers_of(params) > 1 and bool(visible_gpus() or params.train.same_with_any_threads)


def changed(targets: Sequence[str]) -> set[str]:
    """Those of some stages of this checkout that DVC would run, as far as it can tell before others have run.

    Raises:
        CommandError: another DVC is at work here.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return set(repo.status(targets=list(targets)))
    except LockError as error:
        numbers = ", ".join(dict.fromkeys(re.findall(r"PID (\d+)", str(error))))
        raise CommandError(AT_WORK.format(numbers or "unknown")) from error


def hold(checkout: Path) -> None:
    """Hold the checkout until this process, and the `dvc repro` that it becomes, have ended, however they do.

    DVC's own locks are of its single commands: between two of them another `make repro` would find none.

    Raises:
        CommandError: another one has it.
    """
    folder, held = checkout / ".dvc" / "tmp", list[int]()
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "make-repro.pid"
    # what DVC leaves behind to look for a newer version may hold the lock for a moment more
    patience = 0 if _noted(note) and psutil.pid_exists(_noted(note)) else PATIENCE_S
    lock = FileLock(folder / "make-repro.lock", timeout=patience, fallback_to_soft=False, on_acquired=held.append)
    try:
        lock.acquire()
    except Timeout:
        raise CommandError(AT_WORK.format(_noted(note) or "unknown")) from None
    except OSError:  # a file system that knows no such locks; DVC's own may be of another kind
        return
    _held.append(lock)
    os.set_inheritable(held[0], True)
    note.write_text(str(os.getpid()))


def _noted(note: Path) -> int:
    """Process that a note names; 0 where it names none."""
    try:
        return int(note.read_text())
    except (OSError, ValueError):
        return 0


def run_branches(found: Mapping[str, Sequence[str]], checkout: Path, workers: int, say: Say) -> dict[str, str]:
    """Run branches side by side; a failure of one leaves the others at work.

    On a CPU a last training that would run beside none waits for the others and has all cores; they do not change it.

    Args:
        found: name -> stages.
        checkout: where.
        workers: branches at a time.
        say: is told every line of output, with the branch in front.

    Returns:
        Of those that failed, the error.
    """
    start_over()
    width = max(map(len, found))
    trainings = [name for name, stages in found.items() if _trains(stages)]
    last = trainings[-1] if len(trainings) % workers == 1 and not visible_gpus() else ""

    def run(name: str) -> str:
        def tell(line: str) -> None:
            say(f"{name:>{width}} | {line}")

        try:
            reproduce(found[name], checkout, name.replace(" %", ""), tell, single=True, everything=name == last)
        except (CommandError, YoloslimError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(workers) as pool:
        try:
            errors = dict(zip(found, pool.map(run, found), strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
    return {name: error for name, error in errors.items() if error}


def run(checkout: Path, params: Params, say: Say) -> None:
    """Run side by side what is better run so; nothing where less than two branches have changed.

    Raises:
        CommandError: a shared stage failed, or branches did.
    """
    found = branches(params)
    shared = (*BEFORE_CUTS, *taught_by(params))
    if not is_faster(params) or not changed([*shared[1:], *(stage for stages in found.values() for stage in stages)]):
        return
    stream([sys.executable, "-m", "dvc", "repro", *shared], say, checkout, environment())
    stale = changed([stage for stages in found.values() for stage in stages])
    due = {name: stages for name, stages in found.items() if stale & set(stages)}
    if len(due) < 2:
        return
    failed = run_branches(due, checkout, workers_of(params), say)
    if failed:
        raise CommandError("; ".join(f"{name}: {error}" for name, error in failed.items()))


def main() -> None:
    """What `make repro` runs."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    try:
        hold(Path())
        mend(Path())
        with stoppable("in the middle of the pipeline"):
            run(Path(), load_params(), lambda line: print(line, flush=True))
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_code)
    except (CommandError, YoloslimError) as error:
        sys.exit(f"error: {error}")
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "repro"])


if __name__ == "__main__":
    main()
