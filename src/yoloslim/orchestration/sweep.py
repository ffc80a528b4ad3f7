"""The sweep for the optimal pruning point as a Prefect flow.

Prefect shows and spreads the points; DVC decides what has to run and remembers what came out. Where Prefect's server
cannot be started or dies, the sweep goes on without it, and nothing that was done is lost.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from yoloslim.config import Params, SweepResult
from yoloslim.errors import YoloslimError
from yoloslim.orchestration.driver import run_sweep
from yoloslim.orchestration.points import Job, Outcome
from yoloslim.orchestration.variant_run import Event, FanOut, Listener, in_threads

SETTINGS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # the default, 20, is too short for a busy machine
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # people see the dashboard
}


def workers_of(params: Params) -> int:
    """Points that run side by side."""
    return params.sweep.workers or max(1, torch.cuda.device_count())


def sweep(params: Params, listen: Listener, *, prefect: bool = True) -> SweepResult:
    """Search for the optimal pruning point in the current folder."""
    checkout, workers = Path.cwd(), workers_of(params)

    def run(fan_out: FanOut) -> SweepResult:
        return run_sweep(checkout, params, fan_out, workers, listen)

    return as_flow(run, params, checkout, workers, listen) if prefect else run(in_threads(workers))


def as_flow(
    run: Callable[[FanOut], SweepResult], params: Params, checkout: Path, workers: int, listen: Listener
) -> SweepResult:
    """Run a sweep as a Prefect flow whose tasks are its jobs; without Prefect where that fails."""
    os.environ.setdefault("PREFECT_HOME", str(checkout / ".prefect"))
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from prefect import flow  # seconds, and only needed here

    from yoloslim.orchestration.runners import api_for, fan_out_by, task_runner

    found: list[SweepResult] = []
    runner = params.sweep.runner

    @flow(name="sweep", task_runner=task_runner(runner, params.sweep.address, workers))
    def sweep_flow() -> None:
        found.append(run(or_else(fan_out_by(runner), in_threads(workers), listen)))

    try:
        with api_for(runner):
            sweep_flow()
    except YoloslimError:
        raise
    except Exception as error:  # whatever Prefect raises when its server does not start, or is gone at the end
        _warn(listen, error)
        if not found:
            found.append(run(in_threads(workers)))
    return found[0]


def or_else(first: FanOut, second: FanOut, listen: Listener) -> FanOut:
    """The first way to run jobs until it fails as a whole, then the second for all that is left."""
    away = False

    def fan_out(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        nonlocal away
        left = list(jobs)
        try:
            for outcome in () if away else first(jobs, checkout):
                left.remove(outcome.job)
                yield outcome
        except YoloslimError:
            raise
        except Exception as error:  # a job that fails is an outcome: this is the way itself
            away = True
            _warn(listen, error)
        if left:
            yield from second(left, checkout)

    return fan_out


def _warn(listen: Listener, error: Exception) -> None:
    logging.getLogger("yoloslim").debug("Prefect failed", exc_info=error)
    listen(Event("warning", f"Prefect is away ({type(error).__name__}); going on without it, nothing is lost"))
