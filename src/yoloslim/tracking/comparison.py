"""The finished comparison in MLflow: the chart of mAP, parameters and FPS against percent, and the table.

The baseline's run has it, the zero row of every comparison: a run of its own would have other params than the rest, and
whoever compares all runs would see little else. A sweep's parent run has it too, with the sweep's points.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoloslim.config.results import SweepResult
from yoloslim.results.links import SLOT
from yoloslim.results.results import Results
from yoloslim.tracking.connection import KEY, Connection

COMPARISON = "yoloslim.comparison"
"""Tag of the baseline's run: stands for the comparison that it holds."""
ZERO_ROW = "baseline"


def comparison_key(keys: Mapping[str, str]) -> str:
    """Stands for what is compared.

    Args:
        keys: of the rows' runs, by name.

    Returns:
        A hash; empty where there is nothing to compare, or no run to hold it.
    """
    if ZERO_ROW not in keys or len(keys) < 2:
        return ""
    return hashlib.sha256(json.dumps(sorted(keys.items())).encode()).hexdigest()


def bring_comparison_in_line(connection: Connection, results: Results, key: str, baseline: str) -> None:
    """Give the baseline's run the comparison, unless it has it.

    Args:
        connection: to the experiment.
        results: what is compared.
        key: see `comparison_key`.
        baseline: key of the baseline's run.
    """
    for run in connection.runs(KEY, baseline):
        if run.data.tags.get(SLOT) == ZERO_ROW and run.data.tags.get(COMPARISON) != key:
            log_comparison(connection.client, run.info.run_id, results, results.sweep, "comparison")
            connection.client.set_tag(run.info.run_id, COMPARISON, key)


def log_comparison(client: Any, run_id: str, results: Results, sweep: SweepResult | None, folder: str = "") -> None:
    """Log comparison.md and comparison.png to a folder of a run; with a sweep its points too."""
    from yoloslim.report.plots import comparison  # matplotlib takes a second
    from yoloslim.report.style import side_by_side
    from yoloslim.report.sweep_table import effort, outcome, sweep_grid
    from yoloslim.report.tables import comparison_grid, disturbance, in_markdown
    from yoloslim.report.wording import headline

    rows = results.rows
    parts = [
        "# Comparison",
        outcome(sweep) if sweep else headline(results.best, rows),
        comparison_grid(rows).markdown(),
        *([f"{in_markdown(said)}."] if (said := disturbance(rows)) else []),
    ]
    parts += ["## Points", effort(sweep), sweep_grid(sweep).markdown()] if sweep else []
    client.log_text(run_id, "\n\n".join(parts) + "\n", str(Path(folder) / "comparison.md"))
    if any(row.kind == "pruned" for row in rows):
        with tempfile.TemporaryDirectory() as made:
            picture = Path(made) / "comparison.png"
            side_by_side(comparison(rows), picture)
            client.log_artifact(run_id, str(picture), folder or None)
