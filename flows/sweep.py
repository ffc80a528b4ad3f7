"""The sweep for the optimal pruning point as a Prefect flow, and the command behind `yoloslim sweep`.

Prefect shows and spreads the points; DVC decides what has to run and remembers what came out. `--no-prefect` does the
same without it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from pipeline.common import stage
from rich.console import Console

from flows.driver import run_sweep
from flows.lane import FanOut, in_threads
from flows.points import Job, Outcome, run_job
from yoloslim.config import Params, SweepResult

ROOT = Path.cwd()


def workers_of(params: Params) -> int:
    """Points that run side by side."""
    return params.sweep.workers or max(1, torch.cuda.device_count())


def sweep(params: Params, *, prefect: bool = True) -> SweepResult:
    """Search for the optimal pruning point in the current folder."""
    workers, console = workers_of(params), Console()

    def listen(event: str, job: Job | None, text: str) -> None:
        console.print(f"{event:7} {job.name if job else ''} {text}", highlight=False)

    def run(fan_out: FanOut) -> SweepResult:
        return run_sweep(ROOT, params, fan_out, workers, listen)

    return as_flow(run, workers) if prefect else run(in_threads(workers))


def as_flow(run: Callable[[FanOut], SweepResult], workers: int) -> SweepResult:
    """Run a sweep as a Prefect flow whose tasks are its jobs."""
    os.environ.setdefault("PREFECT_HOME", str(ROOT / ".prefect"))
    os.environ.setdefault(
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120"
    )  # the default, 20, fails under load
    from prefect import flow, task  # seconds, and only needed here
    from prefect.cache_policies import NO_CACHE
    from prefect.futures import as_completed
    from prefect.task_runners import ThreadPoolTaskRunner

    point = task(run_job, name="point", task_run_name="{job.name}", cache_policy=NO_CACHE)

    def fan_out(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        for future in as_completed([point.submit(job, checkout) for job in jobs]):
            yield future.result()

    @flow(name="sweep", task_runner=ThreadPoolTaskRunner(max_workers=workers))
    def sweep_flow() -> SweepResult:
        return run(fan_out)

    result: SweepResult = sweep_flow()
    return result


def main(words: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="yoloslim sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--no-prefect", action="store_true", help="run without Prefect")
    arguments = parser.parse_args(words)

    def run(params: Params) -> None:
        result = sweep(params, prefect=not arguments.no_prefect)
        print(f"winner {result.winner}: {result.why}")

    stage(run)


if __name__ == "__main__":
    main(sys.argv[1:])
