"""After the stages: bring MLflow in line with their files, show the comparison, say what to type next.

No stage of DVC, since a stage that is restored from the cache does not run, and its MLflow run must not be lost.
"""

import logging
from pathlib import Path

from yoloslim.config import Params
from yoloslim.errors import TrackingError
from yoloslim.stages.common import stage
from yoloslim.stages.follow import tracking_uri
from yoloslim.sweeping.champion import is_better
from yoloslim.tracking.records import read_rows

logger = logging.getLogger("yoloslim")

NEXT = """\
Next:
  make ui                                  compare the runs in MLflow
  open report/index.html                   tables, pictures, predictions
  dvc metrics show                         every number of every stage
  git add dvc.lock metrics plots           once committed, `dvc metrics diff` tells what changed since
  dvc exp run -S prune.scope=source        try another way of pruning
  edit params.yaml, then make repro        only what changed is run again"""


def sync_or_say(params: Params) -> None:
    """Log runs that MLflow lacks; a server that cannot be reached is said, and costs nothing else."""
    t = params.tracking
    if not t.enabled:
        return
    from yoloslim.tracking.mlflow import sync

    try:
        result = sync(Path(), params.model_dump(mode="json"), tracking_uri(params), t.experiment, better=is_better)
    except TrackingError as error:
        logger.warning("%s", error)
        return
    if result.created:
        logger.info("MLflow: logged %s to %s", ", ".join(result.created), result.uri)
    if result.champion:
        logger.info("MLflow: %s", result.champion)


def run(params: Params) -> None:
    """Sync, then print the table and the next commands."""
    from rich.console import Console

    from yoloslim.tracking.sweep import best_row, read_sweep
    from yoloslim.tracking.tables import comparison_table, verdict

    sync_or_say(params)
    rows = read_rows(Path(), params.percents)
    console = Console()
    best = best_row(rows, read_sweep(Path(), params.model_dump(mode="json")))
    console.print(comparison_table(rows, best))
    if best:
        console.print(f"Recommended: {verdict(best, rows)}\n")
    console.print(NEXT, highlight=False)


def main() -> None:
    """Run the command."""
    stage(run)
