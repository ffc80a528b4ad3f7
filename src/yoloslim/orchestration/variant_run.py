"""One variant of a sweep in its checkout: runs what the search asks for there, again where the cause may pass."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yoloslim.config import load_params
from yoloslim.errors import SweepError, YoloslimError
from yoloslim.files import read_json, write_json, write_text
from yoloslim.orchestration.leases import visible_gpus
from yoloslim.orchestration.points import (
    OF_CONTROL,
    SHARED,
    WORK,
    Job,
    Outcome,
    is_full,
    list_percents,
    read_point,
    reproduce,
    run_job,
    taught_by,
)
from yoloslim.orchestration.process import CommandError, stop_all
from yoloslim.results.one_session import timed
from yoloslim.results.sweep_file import failed_log
from yoloslim.sweeping.result import TriedPoint
from yoloslim.sweeping.search import Ask, Kind, Measured
from yoloslim.sweeping.space import Variant

PAUSES_S = (2.0, 10.0)
"""Before the second and every later try of a point."""
ADDED = WORK / "added.json"
"""Percents that a sweep which is not finished has written into params.yaml."""

FanOut = Callable[[Sequence[Job], Path], Iterable[Outcome]]
"""Runs jobs in a checkout, or in ones that share its cache, in any order; yields how each ended."""


class DiskFullError(SweepError):
    """The one failure of a point that no other point escapes."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the disk is full ({reason}); nothing that was finished is lost: free some space, then `yoloslim sweep` "
            "goes on"
        )


@dataclass(frozen=True)
class Event:
    """What happened in a sweep.

    Attributes:
        kind: `stage`, `line` (of its output), `warning`; of a job: `asked`, `ended`, `again`, `measured`, `failed`,
            `dropped`.
        text: in words.
        job: which.
        found: what is known of its point.
    """

    kind: str
    text: str = ""
    job: Job | None = None
    found: Measured | None = None


Listener = Callable[[Event], None]


def in_threads(workers: int) -> FanOut:
    """Jobs side by side in threads; DVC runs each in processes of its own."""

    def fan_out(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        pool = ThreadPoolExecutor(workers)
        futures = [pool.submit(run_job, job, checkout) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    return fan_out


def last_alone(jobs: Sequence[Job], workers: int) -> list[Job]:
    """Jobs, probes before trainings; the last one is `alone` where it would run beside none of its kind."""
    long = [job for job in jobs if job.kind != "probe"] or jobs
    return [*jobs[:-1], replace(jobs[-1], alone=len(long) % workers == 1)]


@dataclass(eq=False)
class VariantRun:
    """A variant and what is known of its points.

    Attributes:
        checkout: its folder.
        variant: its overrides.
        fan_out: how jobs are spread.
        listen: who is told.
        retries: how often a point is tried again.
        alone: how jobs that measure speed are run, one at a time and in the sweep's own checkout.
        home: the sweep's own checkout, where logs of points that failed are kept.
        workers: jobs at a time.
        table: percent -> what was measured.
        whys: percent -> why it was tried.
        probed: percents that were cut and measured by themselves.
        broken: why its shared stages failed; empty if they did not.
        timing: what stage `timing` found; nothing before it has run.
    """

    checkout: Path
    variant: Variant
    fan_out: FanOut
    listen: Listener
    retries: int
    alone: FanOut
    home: Path
    workers: int
    table: dict[int, Measured] = field(default_factory=dict)
    whys: dict[int, list[str]] = field(default_factory=dict)
    probed: set[int] = field(default_factory=set)
    broken: str = ""
    timing: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """Run the stages that all points of this variant share."""
        where = f" of {self.variant.name}" if self.variant.overrides else ""
        self.listen(Event("stage", f"stages that all points{where} share"))
        # on a CPU with every core, as `dvc repro` does: with `share: 0` the threads change the last digits
        params = load_params(self.checkout / "params.yaml")
        controls = [stage.format(which) for which in params.controls for stage in OF_CONTROL]
        more = taught_by(params) if self.variant.overrides else controls
        self.reproduce((*SHARED, *more), "shared", everything=not visible_gpus())

    def reproduce(self, targets: Sequence[str], log: str, everything: bool = False) -> None:
        """Run stages and what they depend on; all without targets. `everything`: on all devices of the machine.

        Raises:
            SweepError: one failed.
        """
        try:
            reproduce(targets, self.checkout, log, self._say, everything=everything)
        except (CommandError, YoloslimError) as error:
            if is_full(str(error)):
                raise DiskFullError(str(error)) from error
            raise SweepError(f"stages that all points need failed: {error}" if targets else str(error)) from error

    def _say(self, line: str) -> None:
        self.listen(Event("line", line))

    def give_up(self, percent: int, error: str) -> None:
        """Note that a point could not even be begun: the stages that it shares with others failed."""
        self.table[percent] = Measured(error=error)
        self.listen(Event("failed", error, Job("probe", percent, self.variant)))

    def time_in_turn(self) -> None:
        """Time all that was tried once more, in turn: points were measured one by one, hours apart perhaps."""
        try:
            reproduce(("timing",), self.checkout, "timing", self._say, single=True, everything=True)
        except (CommandError, YoloslimError) as error:
            if is_full(str(error)):
                raise DiskFullError(str(error)) from error
            why = f"the models could not be timed in turn: {error}"
            self.listen(Event("warning", f"{why}; speeds are those of when each point was measured"))
            return
        self.timing = dict(read_json(self.checkout / "metrics" / "timing.json"))
        for percent, found in self.table.items():
            self.table[percent] = replace(found, deployed=timed(found.deployed, self.timing, str(percent)))

    @property
    def baseline(self) -> dict[str, Any]:
        """Metrics of the dense model on the runtime."""
        return dict(read_json(self.checkout / "metrics" / "ascend_eval" / "baseline.json"))

    @property
    def dense(self) -> dict[str, Any]:
        """Metrics of the dense model that points are held against: the baseline, or a control that finds more.

        Its key `model` is `baseline` or `control/<which>`.
        """
        names = ["baseline", *(f"control/{which}" for which in load_params(self.checkout / "params.yaml").controls)]
        files = {name: self.checkout / "metrics" / "ascend_eval" / f"{name}.json" for name in names}
        found = [{**timed(read_json(file), self.timing, name), "model": name} for name, file in files.items()]
        return max(found, key=lambda metrics: float(metrics["map50"]))

    @property
    def sparse(self) -> dict[str, Any]:
        """Metrics of the sparse model."""
        return dict(read_json(self.checkout / "metrics" / "sparse.json"))

    def entries(self) -> list[TriedPoint]:
        """All points tried."""
        return [
            TriedPoint(self.variant, p, tuple(self.whys.get(p, ())), found) for p, found in sorted(self.table.items())
        ]

    def done(self) -> list[int]:
        """Percents that were finetuned without failing."""
        return sorted(p for p, found in self.table.items() if found.deployed and not found.error)

    def has(self, percent: int, kind: Kind) -> bool:
        """Whether a point need not be run: it has got that far, or failed."""
        found = self.table.get(percent, Measured())
        return bool(found.error or found.deployed or (kind == "probe" and found.before))

    def drop(self, percent: int) -> None:
        """Leave a point as it is: finetuning it is not worth while."""
        self.table[percent] = replace(self.table[percent], hopeless=True)
        self.listen(
            Event("dropped", "worse than the median of the cuts before it", Job("probe", percent, self.variant))
        )

    def execute(self, asks: Sequence[Ask]) -> None:
        """Run what was asked for side by side, then measure speed one at a time."""
        probes = [Job("probe", ask.percent, self.variant) for ask in asks if ask.kind == "probe"]
        trainings = [Job("finetune", ask.percent, self.variant) for ask in asks if ask.kind == "finetune"]
        for ask in asks:
            self.whys.setdefault(ask.percent, []).append(ask.why)
            self.listen(Event("asked", ask.why, Job(ask.kind, ask.percent, self.variant)))
        self._note_added(job.percent for job in trainings)
        list_percents(self.checkout, "probes", [job.percent for job in probes])
        list_percents(self.checkout, "percents", [job.percent for job in trainings])
        failed = self._with_retries([*probes, *trainings], self.fan_out)
        good = [Job("measure", job.percent, self.variant) for job in trainings if job not in failed]
        failed |= self._with_retries(good, self.alone)
        for ask in asks:
            known = self.table.get(ask.percent, Measured())
            error = next((text for job, text in failed.items() if job.percent == ask.percent), "")
            self.table[ask.percent] = replace(known, error=error) if error else read_point(self.checkout, ask, known)
            if ask.kind == "probe" and not error:
                self.probed.add(ask.percent)
            job = Job(ask.kind, ask.percent, self.variant)
            self.listen(Event("failed" if error else "measured", error, job, self.table[ask.percent]))

    def _note_added(self, percents: Iterable[int]) -> None:
        listed = load_params(self.checkout / "params.yaml").percents
        new = set(percents) - set(listed)
        if new:
            write_json(self.checkout / ADDED, sorted({*self.added(), *new}))

    def added(self) -> set[int]:
        """Percents that a sweep which is not finished has added."""
        note = self.checkout / ADDED
        return set(read_json(note)) if note.is_file() else set()

    def _with_retries(self, jobs: Sequence[Job], fan_out: FanOut) -> dict[Job, str]:
        """Run jobs, again where the cause may pass; returns those that failed for good, with their errors."""
        try:
            return self._try(jobs, fan_out)
        except BaseException:  # stopped, or no use going on: jobs that are running end in good order first
            stop_all()
            raise

    def _try(self, jobs: Sequence[Job], fan_out: FanOut) -> dict[Job, str]:
        left, failed = list(jobs), dict[Job, str]()
        any_threads_do = load_params(self.checkout / "params.yaml").train.same_with_any_threads
        for attempt in range(self.retries + 1):
            again: list[Job] = []
            if left and any_threads_do:
                left = last_alone(left, self.workers)
            for outcome in fan_out(left, self.checkout) if left else ():
                if outcome.disk_full:
                    raise DiskFullError(outcome.error)
                if not outcome.error:
                    failed_log(self.home, outcome.job.point).unlink(missing_ok=True)
                    self.listen(Event("ended", f"{outcome.seconds:.0f} s", outcome.job))
                elif outcome.may_pass and attempt < self.retries:
                    self.listen(Event("again", outcome.error, outcome.job))
                    again.append(outcome.job)
                else:
                    failed[outcome.job] = self._keep_log(outcome)
            left = again
            if left:
                time.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        return failed

    def _keep_log(self, outcome: Outcome) -> str:
        """Keep the log of a job that failed, whose checkout may go; its error, which then names that copy."""
        if not outcome.output:
            return outcome.error
        path = failed_log(self.home, outcome.job.point)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, outcome.output)
        return outcome.error.replace(outcome.log, str(path.relative_to(self.home)))
