"""The sweep for the optimal pruning point as a Prefect flow.

Prefect shows and spreads the points; DVC decides what has to run and remembers what came out. Where Prefect's server
cannot be started or dies, points in threads go on without it, and nothing that was done is lost.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from yoloslim.config import Params, SweepResult
from yoloslim.config.sweep import Runner
from yoloslim.errors import SweepError, YoloslimError
from yoloslim.extras import advice, is_installed
from yoloslim.orchestration.driver import run_sweep
from yoloslim.orchestration.leases import workers_of
from yoloslim.orchestration.leaving import insisting
from yoloslim.orchestration.points import Job, Outcome
from yoloslim.orchestration.server import AwayError
from yoloslim.orchestration.stopping import keep_hearing, stop_if_asked
from yoloslim.orchestration.variant_run import Event, FanOut, Listener, in_threads


def sweep(params: Params, listen: Listener, *, prefect: bool = True) -> SweepResult:
    """Search for the optimal pruning point in the current folder.

    Raises:
        SweepError: what it needs is not installed, or the runner that was asked for needs Prefect.
    """
    _check_installed(params.sweep.runner, prefect)
    if not prefect and params.sweep.runner != "threads":
        without = f"sweep.runner is {params.sweep.runner}, which Prefect hands the points to"
        if not params.sweep.fallback:
            way = (
                "leave out --no-prefect, or set sweep.runner=threads (sweep.fallback=true: threads where it cannot run)"
            )
            raise SweepError(f"{without}; {way}")
        listen(Event("warning", f"{without}; going on in threads, as sweep.fallback allows"))
    checkout, workers = Path.cwd(), workers_of(params)

    def run(fan_out: FanOut, tell: Listener, alone: FanOut | None = None) -> SweepResult:
        return run_sweep(checkout, params, fan_out, workers, tell, alone)

    return as_flow(run, params, checkout, workers, listen) if prefect else run(in_threads(workers), listen)


def _check_installed(runner: Runner, prefect: bool) -> None:
    if not is_installed("dvc"):
        raise SweepError(f"DVC is not installed, and the points of a sweep are its stages; {advice('dvc')}")
    if prefect and not is_installed("prefect"):
        raise SweepError(
            f"Prefect is not installed, which runs the points of a sweep: {advice('prefect')}; or go without, in this "
            "process alone: yoloslim sweep --no-prefect"
        )
    needed = {"threads": (), "dask": ("prefect_dask", "distributed"), "ray": ("prefect_ray", "ray")}[runner]
    if prefect and not all(map(is_installed, needed)):
        raise SweepError(f"sweep.runner is {runner}, which needs `{advice(runner)}`")


_search: ContextVar[Callable[[], None]] = ContextVar("_search")
"""What the flow that is about to start runs."""


def sweep_flow(**wanted: Any) -> None:
    """Run what `as_flow` has set; `wanted` is for people who look at Prefect.

    A function of a module that closes over nothing: Prefect sends a flow to the workers of Dask and Ray with each task,
    and a dashboard or a lock among its variables could not be sent.
    """
    _search.get()()


def as_flow(
    run: Callable[..., SweepResult], params: Params, checkout: Path, workers: int, listen: Listener
) -> SweepResult:
    """Run a sweep as a Prefect flow whose tasks are its jobs.

    Points that run in threads go on without Prefect where that fails; for Dask and Ray only `sweep.fallback` allows it.

    Raises:
        SweepError: the runner that was asked for cannot run points.
    """
    os.environ.setdefault("PREFECT_HOME", str(checkout / ".prefect"))
    for whose in ("", "INTERNAL_"):  # people see the dashboard
        os.environ.setdefault(f"PREFECT_LOGGING_{whose}LEVEL", "CRITICAL")
    from prefect import flow, tags  # seconds, and only needed here

    from yoloslim.orchestration.runners import alone, fan_out_by, sending_log, task_runner
    from yoloslim.orchestration.server import prefect_server
    from yoloslim.orchestration.shown import FlowRecord, shown_params

    found: list[SweepResult] = []
    wanted, local = params.sweep, in_threads(workers)
    give_up = _giving_up(params, listen)

    def search() -> None:
        keep_hearing()
        record = FlowRecord(checkout, listen)
        points = or_else(fan_out_by(wanted.runner), local, give_up)
        found.append(run(points, record.listen, or_else(alone(), in_threads(1), say_away)))
        record.publish(found[0])

    def say_away(error: Exception) -> None:
        listen(Event("warning", f"{_away(error)}; going on without it, nothing is lost"))

    set_before = _search.set(search)
    try:
        runner = task_runner(wanted.runner, wanted.address, workers)
        with prefect_server(), insisting():
            name = f"{wanted.objective} {params.model} in {checkout.name}"
            with tags(params.model, wanted.objective, wanted.runner), sending_log():
                as_named = flow(name="sweep", flow_run_name=name, task_runner=runner, validate_parameters=False)
                as_named(sweep_flow)(**shown_params(params))
    except YoloslimError:
        raise
    except Exception as error:  # whatever Prefect raises when its server does not start, or is gone at the end
        stop_if_asked()
        if found:
            listen(Event("warning", f"{_away(error)}; its record of this sweep lacks the end, nothing is lost"))
        else:
            give_up(error)
            found.append(run(local, listen))
    finally:
        _search.reset(set_before)
    return found[0]


def or_else(first: FanOut, second: FanOut, give_up: Callable[[Exception], None]) -> FanOut:
    """The first way to run jobs until it fails as a whole, then the second for all that is left.

    Args:
        first: the way that was asked for.
        second: the way out.
        give_up: is told why; raises where there must be no way out.
    """
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
            stop_if_asked()
            give_up(error)
            away = True
        if left:
            yield from second(left, checkout)

    return fan_out


def _giving_up(params: Params, listen: Listener) -> Callable[[Exception], None]:
    wanted = params.sweep

    def give_up(error: Exception) -> None:
        logging.getLogger("yoloslim").debug("Prefect failed", exc_info=error)
        if wanted.runner == "threads":
            listen(Event("warning", f"{_away(error)}; going on without it, nothing is lost"))
            return
        why = _away(error) if isinstance(error, AwayError) else _reason(error)
        reason = f"sweep.runner is {wanted.runner}, and it cannot run points ({why})"
        if not wanted.fallback:
            raise SweepError(
                f"{reason}; what was finished is kept. `sweep.fallback: true` goes on in threads here instead"
            ) from error
        listen(Event("warning", f"{reason}; going on in threads here, as sweep.fallback allows"))

    return give_up


def _away(error: Exception) -> str:
    return f"Prefect is away ({os.environ.get('PREFECT_API_URL', 'a server of its own')}: {_reason(error)})"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}".removesuffix(": ")
