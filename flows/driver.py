"""The loop of a sweep: ask the search, run what it wants, tell it what came out, until it knows the answer.

Nothing here knows of Prefect: how jobs are spread is a function, `FanOut`. DVC decides what has to run, so the loop
keeps no state of its own: started again after being killed, it asks the same questions and finds the answers done.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from pipeline.track import sync_or_say

from flows.points import SHARED, WORK, Job, Outcome, list_percents, read_point, reproduce, run_job
from yoloslim.config import Params, SweepResult, load_params
from yoloslim.config.edit import set_list
from yoloslim.errors import SweepError, YoloslimError
from yoloslim.files import read_json, write_json, write_text
from yoloslim.sweeping.result import result_of
from yoloslim.sweeping.search import Ask, Measured, Search

RESULT = Path("metrics") / "sweep.json"
PAUSES_S = (2.0, 10.0)
"""Before the second and every later try of a point."""

FanOut = Callable[[Sequence[Job], Path], Iterable[Outcome]]
"""Runs jobs in a checkout, or in ones that share its cache, in any order; yields how each ended."""
Listener = Callable[[str, Job | None, str], None]
"""Told of `shared`, `asked`, `ended`, `failed`, `again`, `rest`: what happened, to which job, and in words."""

logger = logging.getLogger("yoloslim")


def in_threads(workers: int) -> FanOut:
    """Jobs side by side in threads; DVC runs each in processes of its own."""

    def fan_out(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(run_job, job, checkout) for job in jobs]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    return fan_out


class Sweep:
    """One sweep in one checkout."""

    def __init__(self, checkout: Path, params: Params, fan_out: FanOut, workers: int, listen: Listener) -> None:
        self.checkout, self.params, self.fan_out = checkout, params, fan_out
        self.workers, self.listen = workers, listen
        self.table: dict[int, Measured] = {}
        self.whys: dict[int, list[str]] = {}

    def run(self) -> SweepResult:
        """From the shared stages to metrics/sweep.json and the report.

        Raises:
            SweepError: a stage that all points need failed, or the disk is full.
        """
        start = time.monotonic()
        own = self._own_percents()
        self.listen("shared", None, "stages that all points share")
        self._reproduce_all(SHARED, "shared")
        search = self._search(own)
        while asks := search.next(self.table):
            self._round(asks)
        finetuned = {p for p, found in self.table.items() if found.deployed and not found.error}
        added = sorted(finetuned - set(own))
        self._list(sorted({*own, *added}), sorted(p for p, f in self.table.items() if f.before and not f.error))
        name = f"{self.params.model}, {self.params.sweep.objective}"
        result = result_of(name, search, self.table, self.whys, added, time.monotonic() - start)
        self._write(result)
        self.listen("rest", None, "what is left: report, and percents that params.yaml lists besides")
        self._reproduce_all((), "rest")
        sync_or_say(self.params)
        return result

    def _search(self, own: Sequence[int]) -> Search:
        metrics = self.checkout / "metrics"
        baseline = read_json(metrics / "ascend_eval" / "baseline.json")
        return Search(self.params.sweep, baseline, read_json(metrics / "sparse.json"), tuple(own), self.workers)

    def _own_percents(self) -> list[int]:
        """Those that people listed: all in params.yaml but what a sweep, finished or killed, has added."""
        note = self.checkout / WORK / "added.json"
        added = set(read_json(note)) if note.is_file() else set()
        former = self.checkout / RESULT
        if former.is_file():
            added |= set(read_json(former).get("added", ()))
        own = [percent for percent in self.params.percents if percent not in added]
        self._list(own, [])
        return own

    def _list(self, percents: Sequence[int], probes: Sequence[int]) -> None:
        set_list(self.checkout / "params.yaml", "percents", percents)
        set_list(self.checkout / "params.yaml", "probes", probes)

    def _note_added(self, percents: Iterable[int]) -> None:
        note = self.checkout / WORK / "added.json"
        known = set(read_json(note)) if note.is_file() else set()
        write_json(note, sorted({*known, *percents} - set(load_params(self.checkout / "params.yaml").percents)))

    def _round(self, asks: Sequence[Ask]) -> None:
        """Run what was asked for side by side, then measure speed one at a time."""
        probes = [Job("probe", ask.percent) for ask in asks if ask.kind == "probe"]
        trainings = [Job("finetune", ask.percent) for ask in asks if ask.kind == "finetune"]
        for ask in asks:
            self.whys.setdefault(ask.percent, []).append(ask.why)
            self.listen("asked", Job(ask.kind, ask.percent), ask.why)
        if trainings:
            self._note_added(job.percent for job in trainings)
        list_percents(self.checkout, "probes", [job.percent for job in probes])
        list_percents(self.checkout, "percents", [job.percent for job in trainings])
        failed = self._with_retries([*probes, *trainings], self.fan_out)
        good = [Job("measure", job.percent) for job in trainings if job not in failed]
        failed |= self._with_retries(good, in_threads(1))
        for ask in asks:
            known = self.table.get(ask.percent, Measured())
            error = next((text for job, text in failed.items() if job.percent == ask.percent), "")
            if error:
                self.table[ask.percent] = replace(known, error=error)
            else:
                self.table[ask.percent] = read_point(self.checkout, ask, known)

    def _with_retries(self, jobs: Sequence[Job], fan_out: FanOut) -> dict[Job, str]:
        """Run jobs, again where the cause may pass; returns those that failed for good, with their errors."""
        left, failed = list(jobs), {}
        for attempt in range(self.params.sweep.retries + 1):
            again: list[Job] = []
            for outcome in fan_out(left, self.checkout) if left else ():
                if outcome.disk_full:
                    raise SweepError(
                        f"the disk is full ({outcome.error}); nothing that was finished is lost: free some space "
                        "(`dvc gc --workspace` removes what no file here uses), then `yoloslim sweep` goes on"
                    )
                if not outcome.error:
                    self.listen("ended", outcome.job, f"{outcome.seconds:.0f} s")
                elif outcome.may_pass and attempt < self.params.sweep.retries:
                    self.listen("again", outcome.job, outcome.error)
                    again.append(outcome.job)
                else:
                    self.listen("failed", outcome.job, outcome.error)
                    failed[outcome.job] = outcome.error
            left = again
            if left:
                time.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        return failed

    def _reproduce_all(self, targets: Sequence[str], log: str) -> None:
        try:
            reproduce(targets, self.checkout, log)
        except (RuntimeError, YoloslimError) as error:
            raise SweepError(f"no sweep without the stages that all points share: {error}") from error

    def _write(self, result: SweepResult) -> None:
        """Write the result; the same one again leaves the file as it is, so that nothing depends on the clock."""
        path = self.checkout / RESULT
        if not (path.is_file() and read_json(path).get("key") == result.key):
            write_json(path, result.model_dump(mode="json"))
        (self.checkout / WORK / "added.json").unlink(missing_ok=True)


@contextmanager
def only_one(checkout: Path) -> Iterator[None]:
    """Keep a checkout to one sweep at a time.

    Raises:
        SweepError: another one is running; the message has its process id.
    """
    lock, note = checkout / WORK / "sweep.lock", checkout / WORK / "sweep.pid"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            write_text(note, f"{os.getpid()}\n")
            yield
    except Timeout:
        pid = note.read_text(encoding="utf-8").strip() if note.is_file() else "unknown"
        raise SweepError(
            f"a sweep is running in {checkout} already (process {pid}); wait for it, or stop it with `kill -INT {pid}`"
        ) from None


def run_sweep(checkout: Path, params: Params, fan_out: FanOut, workers: int, listen: Listener) -> SweepResult:
    """A whole sweep, alone in its checkout; see `Sweep.run`."""
    with only_one(checkout):
        return Sweep(checkout, params, fan_out, workers, listen).run()
