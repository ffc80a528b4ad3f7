"""After the stages: bring MLflow in line with their files, show the comparison, say what to type next.

No stage of DVC, since a stage that is restored from the cache does not run, and its MLflow run must not be lost.
"""

import logging
import os
import sys
from pathlib import Path

from yoloslim.commands import ACTIVATE, is_hidden, to_type
from yoloslim.config import Params
from yoloslim.errors import TrackingError
from yoloslim.results.results import Results, read_results
from yoloslim.results.uris import chosen_uri
from yoloslim.stages.common import stage
from yoloslim.sweeping.champion import is_better

logger = logging.getLogger("yoloslim")

NEXT = {
    "open report/index.html": "tables, pictures, predictions",
    "dvc metrics show": "the models in a few numbers; all of them are in metrics/",
    "git add dvc.lock summary": "once committed, `dvc metrics diff` tells what changed since",
    "dvc exp run -S prune.scope=source": "try another way of pruning",
}


def sync_or_say(params: Params, results: Results | None = None) -> bool:
    """Log runs that MLflow lacks; a server that cannot be reached is said, and costs nothing else.

    Args:
        params: of the current folder.
        results: what there is to log; None reads it.

    Returns:
        Whether MLflow has all that it is to have.
    """
    t = params.tracking
    if not t.enabled:
        return True
    from yoloslim.tracking.mlflow import sync

    try:
        results = results or read_results(Path(), params.model_dump(mode="json"))
        result = sync(results, chosen_uri(t.uri), t.experiment, better=is_better)
    except TrackingError as error:
        logger.warning("%s", error)
        return False
    if result.created:
        logger.info("MLflow: logged %s to %s", ", ".join(result.created), result.uri)
    if result.champion:
        logger.info("MLflow: %s", result.champion)
    return True


def run(params: Params) -> None:
    """Sync, then print the table and the next commands; exit with 75, try again later, where MLflow lacks something."""
    from rich.console import Console

    from yoloslim.report.tables import comparison_table, recommendation
    from yoloslim.report.wording import careful

    results = read_results(Path(), params.model_dump(mode="json"))
    told = sync_or_say(params, results)
    console = Console()
    console.print(comparison_table(results.rows, results.best, console.width))
    if results.best:
        console.print(f"Recommended: {recommendation(results.best, results.rows)}\n")
        warning = careful(results.best, results.rows)
        if warning:
            console.print(f"{warning}\n", style="yellow", highlight=False)
    console.print(next_lines(), highlight=False, soft_wrap=True)
    if not told:
        print("MLflow lacks some of these results, as said above", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)


def next_lines() -> str:
    """What to type next, a command a line."""
    lines = {ACTIVATE: "once a terminal: brings `dvc`, `yoloslim` and `mlflow` to it"} if is_hidden() else {}
    lines |= {to_type("ui"): "compare the runs in MLflow", **NEXT}
    lines[f"edit params.yaml, then {to_type('repro')}"] = "only what changed is run again"
    width = max(len(command) for command in lines if len(command) < 50)
    return "\n".join(["Next:", *(f"  {command:{width}}  {about}" for command, about in lines.items())])


def main() -> None:
    """Run the command."""
    stage(run)
