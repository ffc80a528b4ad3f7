"""The whole pipeline as a Prefect flow: `dvc repro`, then MLflow.

DVC decides what runs and caches it; Prefect adds a schedule, logs and notifications. Nothing is cached or retried
twice. Without Prefect, `dvc repro && python -m pipeline.track` does the same.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import flow, get_run_logger, tags, task
from prefect.cache_policies import NO_CACHE

from yoloslim.config import Params
from yoloslim.errors import SweepError
from yoloslim.orchestration.leaving import insisting, leaving
from yoloslim.orchestration.mending import mend
from yoloslim.orchestration.process import CommandError, quiet_clients, stream, without_blanks
from yoloslim.orchestration.runners import sending_log
from yoloslim.orchestration.server import prefect_server
from yoloslim.orchestration.stopping import stop_if_asked, stoppable
from yoloslim.stages.common import stage

logger = logging.getLogger("yoloslim")
Say = Callable[[str], None]


def run_stages(targets: Sequence[str], say: Say) -> None:
    """Run the stages that need running; all of them, or those named, with what they depend on."""
    mend(Path())
    stream([sys.executable, "-m", "dvc", "repro", *targets], say, Path.cwd())


def log_results(say: Say) -> None:
    """Log to MLflow what the stages made."""
    stream([sys.executable, "-m", "pipeline.track"], say, Path.cwd())


@task(name="dvc repro", task_run_name="dvc repro", cache_policy=NO_CACHE)
def reproduce(targets: Sequence[str] = ()) -> None:
    """See `run_stages`."""
    run_stages(targets, without_blanks(get_run_logger().info))


@task(name="track", task_run_name="log to MLflow", cache_policy=NO_CACHE)
def track() -> None:
    """See `log_results`."""
    log_results(without_blanks(get_run_logger().info))


def _run_name() -> str:
    from yoloslim.orchestration.shown import run_name

    return run_name("pipeline")


@flow(name="pipeline", flow_run_name=_run_name)
def pipeline(targets: Sequence[str] = ()) -> None:
    """Reproduce, then tell Prefect what there is, then track."""
    reproduce(targets)
    from yoloslim.orchestration.shown import only_shown, publish_models  # what is only shown needs half the library

    with only_shown():
        publish_models(Path.cwd())
    track()


def run(params: Params) -> None:
    """Run the flow; where Prefect is away, go on without it, as a sweep does.

    Raises:
        SweepError: a stage failed.
    """
    quiet_clients()
    os.environ.setdefault("PREFECT_HOME", str(Path.cwd() / ".prefect"))
    try:
        try:
            with prefect_server(), insisting(), tags(params.model), sending_log():
                pipeline()
        except CommandError:
            raise
        except Exception as error:  # whatever Prefect raises when its server does not start, or is gone
            stop_if_asked()
            where, why = os.environ.get("PREFECT_API_URL", "a server of its own"), str(error).partition("\n")[0][:200]
            logger.warning("Prefect is away (%s: %s: %s); going on without it", where, type(error).__name__, why)
            run_stages((), logger.info)
            log_results(logger.info)
    except CommandError as error:
        raise SweepError(str(error)) from error


def main() -> None:
    """Run the command."""

    def stoppable_run(params: Params) -> None:
        with stoppable("in mid-pipeline", (signal.SIGINT,)):
            run(params)

    with leaving():
        stage(stoppable_run)
