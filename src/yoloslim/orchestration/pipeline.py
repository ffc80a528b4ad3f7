"""The whole pipeline as a Prefect flow: `dvc repro`, then MLflow.

DVC decides what runs and caches it; Prefect adds a schedule, logs and notifications. Nothing is cached or retried
twice. Without Prefect, `dvc repro && python -m pipeline.track` does the same.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from yoloslim.orchestration.mending import mend
from yoloslim.orchestration.process import stream


@task(cache_policy=NO_CACHE)
def reproduce(targets: Sequence[str] = ()) -> None:
    """Run the stages that need running; all of them, or those named, with what they depend on."""
    mend(Path())
    stream([sys.executable, "-m", "dvc", "repro", *targets], get_run_logger().info, Path.cwd())


@task(cache_policy=NO_CACHE)
def track() -> None:
    """Log to MLflow what the stages made."""
    stream([sys.executable, "-m", "pipeline.track"], get_run_logger().info, Path.cwd())


@flow(name="pipeline")
def pipeline(targets: Sequence[str] = ()) -> None:
    """Reproduce, then track."""
    reproduce(targets)
    track()
