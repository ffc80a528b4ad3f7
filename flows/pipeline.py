"""The whole pipeline as a Prefect flow: `dvc repro`, then MLflow.

DVC decides what runs and caches it; Prefect adds a schedule, logs and notifications. Nothing is cached or retried
twice. Without Prefect, `dvc repro && python -m pipeline.track` does the same.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

ROOT = Path(__file__).resolve().parents[1]


def stream(command: Sequence[str], say: Callable[[str], None]) -> None:
    """Run a command in the project's folder, passing its output on line by line.

    Raises:
        RuntimeError: it failed; the message holds the command, its exit status and its last line.
    """
    last = ""
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout or ():
            last = line.rstrip() or last
            say(line.rstrip())
    if process.returncode:
        raise RuntimeError(f"`{' '.join(command)}` ended with status {process.returncode}: {last}")


@task(cache_policy=NO_CACHE)
def reproduce(targets: Sequence[str] = ()) -> None:
    """Run the stages that need running; all of them, or those named, with what they depend on."""
    stream([sys.executable, "-m", "dvc", "repro", *targets], get_run_logger().info)


@task(cache_policy=NO_CACHE)
def track() -> None:
    """Log to MLflow what the stages made."""
    stream([sys.executable, "-m", "pipeline.track"], get_run_logger().info)


@flow(name="pipeline")
def pipeline(targets: Sequence[str] = ()) -> None:
    """Reproduce, then track."""
    reproduce(targets)
    track()


if __name__ == "__main__":
    pipeline()
