"""Where a sweep's jobs run: threads here, or the workers of Dask or Ray, each in a checkout of its own."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from yoloslim.config.sweep import Runner
from yoloslim.errors import ConfigError, SweepError
from yoloslim.orchestration.points import Job, Outcome, run_job
from yoloslim.orchestration.process import without_blanks
from yoloslim.orchestration.server import is_away
from yoloslim.orchestration.variant_run import FanOut
from yoloslim.orchestration.worktrees import Snapshot, own_checkout, take_snapshot
from yoloslim.within import within

NO_CTRL_C = "import signal; signal.signal(signal.SIGINT, lambda *_: None)"
"""What workers of Dask run first: the terminal's Ctrl-C is the sweep's, which ends them, and stages get their own."""
ADDRESSES = {"dask": "tcp://host:8786", "ray": "ray://host:10001"}
"""What an address looks like."""
CONNECT_S, HANDSHAKE_S = 3.0, 10.0
HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
HTTP2_SETTINGS = 4
"""What a client of gRPC, Ray's way of talking, says first, and the type of the frame that any server answers with
(RFC 9113, section 3.4)."""
LOST = "the worker that ran it was lost"


def task_runner(runner: Runner, address: str, workers: int) -> Any:
    """Prefect's task runner of this name.

    Args:
        runner: threads, dask or ray.
        address: of a scheduler that is running; empty starts workers on this machine.
        workers: how many of them.

    Raises:
        ConfigError: threads were given an address, or it means nothing.
        ConnectionError: nobody listens there.
    """
    if runner == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        if address:
            raise ConfigError(f"sweep.address is '{address}', but threads have none; set sweep.runner to dask or ray")
        return ThreadPoolTaskRunner(max_workers=workers)
    _expect_listener(runner, address)
    return _dask(address, workers) if runner == "dask" else _ray(address, workers)


def _expect_listener(runner: Runner, address: str) -> None:
    """Fail within seconds where nobody listens, for which Dask's and Ray's clients wait a minute."""
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"sweep.address '{address}' is no address, such as {ADDRESSES[runner]}: {error}") from error
    if parts.scheme not in ("tcp", "tls", "ray") or not host or not port:  # `auto` of Ray, say
        return
    try:
        wire = socket.create_connection((host, port), CONNECT_S)
    except OSError as error:
        raise ConnectionError(
            f"nobody listens at sweep.address {address}, {error.strerror or error}; an empty one starts workers here"
        ) from error
    with wire:
        if runner == "ray" and os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
            _expect_grpc(wire, address)


def _expect_grpc(wire: socket.socket, address: str) -> None:
    """Fail within seconds where what listens says nothing, or something else, for which Ray waits minutes."""
    wire.settimeout(HANDSHAKE_S)
    try:
        wire.sendall(HTTP2_HELLO)
        frame = wire.recv(9)
    except OSError:
        frame = b""
    if len(frame) < 4 or frame[3] != HTTP2_SETTINGS:
        raise ConnectionError(_stranger(address, "Ray"))


def _stranger(address: str, wanted: str) -> str:
    return (
        f"what listens at sweep.address {address} does not answer as {wanted}'s scheduler; an empty one starts workers "
        "here"
    )


def _expect_scheduler(address: str) -> None:
    """Fail within seconds where something else than a scheduler listens."""
    import distributed

    client: Any = distributed.Client  # which has no types
    try:
        within(HANDSHAKE_S, lambda: client(address, timeout=HANDSHAKE_S, set_as_default=False).close())
    except Exception as error:  # whatever a stranger's answer leads to
        raise ConnectionError(_stranger(address, "Dask")) from error


def _dask(address: str, workers: int) -> Any:
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")  # each step of scheduler and workers, else
    from prefect_dask import DaskTaskRunner

    if address:
        _expect_scheduler(address)
        return DaskTaskRunner(address=address)
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "preload": [NO_CTRL_C]}
    options |= {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}}  # nor port 8787
    return DaskTaskRunner(cluster_kwargs=options)


def _ray(address: str, workers: int) -> Any:
    from prefect_ray import RayTaskRunner

    if address:
        return RayTaskRunner(address=address)
    return RayTaskRunner(init_kwargs={"num_cpus": workers, "include_dashboard": False, "log_to_driver": False})


def run_logger() -> Any:
    """The log of the flow or task run that calls: for Prefect's server, not for the terminal, which has its own."""
    from prefect import get_run_logger

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return get_run_logger()


def _log_line() -> Callable[[str], None]:
    """Writes a line to the log of the run that calls."""
    return without_blanks(run_logger().info)


@contextmanager
def sending_log() -> Iterator[None]:
    """At the end, however it comes, wait until the server has what was logged, which is sent from a thread."""
    from prefect.logging.handlers import APILogHandler

    try:
        yield
    finally:
        if not is_away():
            APILogHandler().flush()


class PointFailedError(Exception):
    """A point broke off: raised in its task, so that Prefect shows it as failed; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        return self.outcome.error


def run_here(job: Job, checkout: Path) -> Outcome:
    """Run a job in the driver's checkout, as a task, whose log has what the stages print."""
    return _or_raise(run_job(job, checkout, _log_line()))


def _or_raise(outcome: Outcome) -> Outcome:
    if outcome.error:
        raise PointFailedError(outcome)
    return outcome


def run_elsewhere(job: Job, snapshot: Snapshot) -> Outcome:
    """Run a job in a checkout of the worker's own; what it makes goes to the shared cache."""
    with own_checkout(snapshot) as place:
        return _or_raise(run_job(job, place.checkout, _log_line(), upstream=True, fds=place.fds))


def task_options(name: str) -> dict[str, Any]:
    """Of a task that runs jobs: DVC alone remembers what is done."""
    from prefect.cache_policies import NO_CACHE

    return {"name": name, "task_run_name": "{job.name}", "cache_policy": NO_CACHE, "tags": [name]}


def alone() -> FanOut:
    """Jobs one after the other in this process, each a task of the flow that is running."""
    from prefect import task

    def fan_out(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        measure = task(run_here, **task_options("speed"))
        for job in jobs:
            try:
                yield measure(job, checkout)
            except PointFailedError as failed:
                yield failed.outcome

    return fan_out


def fan_out_by(runner: Runner) -> FanOut:
    """Jobs as Prefect tasks of the flow that is running; those of other checkouts are then restored in this one."""
    from prefect import task
    from prefect.futures import as_completed

    options = task_options("point")

    def here(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        point = task(run_here, **options)
        futures = {point.submit(job, checkout): job for job in jobs}
        for future in as_completed(list(futures)):
            try:
                yield future.result()
            except PointFailedError as failed:
                yield failed.outcome

    def elsewhere(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        point, snapshot = task(run_elsewhere, **options), take_snapshot(checkout)
        futures = {point.submit(job, snapshot): job for job in jobs}
        for future in as_completed(list(futures)):
            outcome = _outcome_of(future, futures[future])
            yield outcome if outcome.error else _restore(outcome, checkout)

    return here if runner == "threads" else elsewhere


def _outcome_of(future: Any, job: Job) -> Outcome:
    """How a job ended that may have lost its worker."""
    try:
        outcome: Outcome = future.result()
    except PointFailedError as failed:
        outcome = failed.outcome
    except (SweepError, ConfigError) as error:
        return Outcome(job, 0, str(error))
    except Exception as error:  # Dask's and Ray's own: the worker died, the scheduler gave up, Prefect crashed the run
        return Outcome(job, 0, f"{LOST}: {type(error).__name__}: {error}", may_pass=True)
    return outcome


def _restore(outcome: Outcome, checkout: Path) -> Outcome:
    """Bring what a worker made into the driver's checkout: DVC takes it from the run cache and runs nothing."""
    here = run_job(outcome.job, checkout)
    return here if here.error else outcome
