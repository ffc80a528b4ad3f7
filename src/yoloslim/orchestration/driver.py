"""The loop of a sweep: ask the search, run what it wants, tell it what came out, until it knows the answer.

Nothing here knows of Prefect: how jobs are spread is a function, `FanOut`. DVC decides what has to run, so the loop
keeps no state of its own: started again after being killed, it asks the same questions and finds the answers done.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from yoloslim.config import Params, SweepResult, load_params
from yoloslim.config.edit import set_list
from yoloslim.errors import SweepError
from yoloslim.files import read_json, write_json, write_text
from yoloslim.orchestration.points import WORK
from yoloslim.orchestration.process import start_over
from yoloslim.orchestration.variant_run import ADDED, DiskFullError, Event, FanOut, Listener, VariantRun, in_threads
from yoloslim.orchestration.variants import close_variant, keep_variant, open_variant
from yoloslim.stages.track import sync_or_say
from yoloslim.sweeping.result import result_of
from yoloslim.sweeping.search import Ask, Kind, Search
from yoloslim.sweeping.space import HERE, Variant, check_axes, variant, variants
from yoloslim.sweeping.trials import Trial, Trials

RESULT = Path("metrics") / "sweep.json"


def run_sweep(
    checkout: Path,
    params: Params,
    fan_out: FanOut,
    workers: int,
    listen: Listener,
    alone: FanOut | None = None,
) -> SweepResult:
    """A whole sweep, alone in its checkout.

    Args:
        checkout: its folder.
        params: what is wanted.
        fan_out: how points are spread.
        workers: points at a time.
        listen: is told what happens.
        alone: how what measures speed is run; by default in this process.

    Raises:
        SweepError: another sweep is running here; a stage that all points need failed; the disk is full.
    """
    check_axes(params)
    start_over()
    with only_one(checkout):
        return Sweep(checkout, params, fan_out, workers, listen, alone or in_threads(1)).run()


class Sweep:
    """One sweep in one checkout, and in worktrees of it where there are other axes than percent."""

    def __init__(
        self, checkout: Path, params: Params, fan_out: FanOut, workers: int, listen: Listener, alone: FanOut
    ) -> None:
        self.checkout, self.params, self.fan_out, self.alone = checkout, params, fan_out, alone
        self.workers, self.listen = workers, listen
        self.home = self._variant_run(checkout, HERE)
        self.runs = {HERE: self.home}
        self.cliff: int | None = None

    def run(self) -> SweepResult:
        """From the shared stages to metrics/sweep.json and the report."""
        start = time.monotonic()
        own = self._own_percents()
        self.home.prepare()
        if self.params.sweep.sampler == "optuna":
            self._sample()
        else:
            self._search_all(own)
        added = [percent for percent in self.home.done() if percent not in own]
        self._list(sorted({*own, *added}), sorted(self.home.probed))
        self.listen(Event("stage", "speed of all models in turn"))
        for run in self.runs.values():
            if run.done():
                run.time_in_turn()
        result = self._result(added, time.monotonic() - start)
        self._write(result)
        self.listen(Event("stage", "the report, and what params.yaml lists besides"))
        try:
            self.home.reproduce((), "rest")
        except DiskFullError:
            raise
        except SweepError as error:  # a listed percent that failed, say: what was searched for is found
            self.listen(Event("warning", f"{error}; `dvc repro` tries again"))
        sync_or_say(load_params(self.checkout / "params.yaml"))  # with the percents of the sweep
        for run in self.runs.values():
            if run is not self.home and not run.broken:
                keep_variant(self.checkout, run.checkout, run.variant, run.done())
                close_variant(self.checkout, run.checkout)
        return result

    def _search_all(self, own: Sequence[int]) -> None:
        """Search along percent, in one variant after the other."""
        dense = self.home.dense
        for each in variants(self.params):
            run = self._open(each, self.params.sweep.low)
            if run.broken:
                continue
            listed = tuple(own) if run is self.home else ()
            search = Search(self.params.sweep, dense, run.sparse, listed, self.workers)
            while asks := search.next(run.table):
                run.execute(asks)
            if run is self.home:
                self.cliff = search.cliff(run.table)

    def _sample(self) -> None:
        """Let Optuna propose points, a batch at a time; told in the order of asking, so that it can be repeated."""
        trials = Trials(self.params.sweep, self.home.dense, self.home.sparse, self.params.seed)
        left = self.params.sweep.trials
        while left > 0:
            batch = [trials.ask() for _ in range(min(self.workers, left))]
            left -= len(batch)
            runs = {trial: self._open(variant(self.params, dict(trial.values)), trial.percent) for trial in batch}
            self._run_trials(runs, "probe", "Optuna proposed it")
            hopeful = {}
            for trial, run in runs.items():
                found = run.table[trial.percent]
                if found.error:
                    trials.tell(trial, None)
                elif trials.is_hopeless(trial, found.before) and not found.deployed:
                    run.drop(trial.percent)
                    trials.tell(trial, None, hopeless=True)
                else:
                    hopeful[trial] = run
            self._run_trials(hopeful, "finetune", "the cut is better than the median")
            for trial, run in hopeful.items():
                found = run.table[trial.percent]
                trials.tell(trial, None if found.error else found.deployed)

    def _run_trials(self, runs: dict[Trial, VariantRun], kind: Kind, why: str) -> None:
        for run in dict.fromkeys(runs.values()):
            percents = dict.fromkeys(trial.percent for trial, of in runs.items() if of is run)
            run.execute([Ask(kind, p, why) for p in percents if not run.has(p, kind)])

    def _open(self, each: Variant, percent: int) -> VariantRun:
        """The run of a variant; where its shared stages fail, the point that it was opened for has failed."""
        if each not in self.runs:
            run = self.runs[each] = self._variant_run(open_variant(self.checkout, each), each)
            try:
                run.prepare()
            except DiskFullError:
                raise
            except SweepError as error:
                run.broken = str(error)
        if self.runs[each].broken:
            self.runs[each].give_up(percent, self.runs[each].broken)
        return self.runs[each]

    def _variant_run(self, checkout: Path, each: Variant) -> VariantRun:
        return VariantRun(
            checkout,
            each,
            self.fan_out,
            self.listen,
            self.params.sweep.retries,
            self.alone,
            self.checkout,
            self.workers,
        )

    def _own_percents(self) -> list[int]:
        """Those that people listed: all in params.yaml but what a sweep, finished or killed, has added."""
        added = self.home.added()
        former = self.checkout / RESULT
        if former.is_file():
            added |= set(read_json(former).get("added", ()))
        kept = {*self.params.quantize.models, *self.params.rknn.models}  # whose stage needs theirs
        own = [percent for percent in self.params.percents if percent not in added or percent in kept]
        self._list(own, [])
        return own

    def _list(self, percents: Sequence[int], probes: Sequence[int]) -> None:
        set_list(self.checkout / "params.yaml", "percents", percents)
        set_list(self.checkout / "params.yaml", "probes", probes)

    def _result(self, added: Sequence[int], seconds: float) -> SweepResult:
        dense = self.home.dense
        paired = all(run.baseline == self.home.baseline for run in self.runs.values() if not run.broken)
        entries = [entry for run in self.runs.values() for entry in run.entries()]
        probes = sum(len(run.probed) for run in self.runs.values())
        if not paired:  # times as fast as another dense model is another measure
            entries = [entry.without_speedup() for entry in entries]
        return result_of(self.params, dense, self.home.sparse, self.cliff, entries, added, probes, seconds)

    def _write(self, result: SweepResult) -> None:
        """Write the result; the same one again leaves the file as it is, so that nothing depends on the clock."""
        path = self.checkout / RESULT
        if not (path.is_file() and read_json(path).get("key") == result.key):
            write_json(path, result.model_dump(mode="json"))
        (self.checkout / ADDED).unlink(missing_ok=True)


@contextmanager
def only_one(checkout: Path, what: str = "sweep") -> Iterator[None]:
    """Keep a checkout to one sweep, or one of something else, at a time.

    Raises:
        SweepError: another one is running; the message has its process id.
    """
    lock, note = checkout / WORK / f"{what}.lock", checkout / WORK / f"{what}.pid"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            write_text(note, f"{os.getpid()}\n")
            yield
    except Timeout:
        pid = note.read_text(encoding="utf-8").strip() if note.is_file() else "unknown"
        raise SweepError(
            f"a {what} is running in {checkout} already (process {pid}); wait for it, or stop it with `kill -INT {pid}`"
        ) from None
