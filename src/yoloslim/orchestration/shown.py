"""What Prefect's pages show of a sweep: its parameters, its log, how far it is, and what it found."""

import base64
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yoloslim.config import Params, SweepResult, load_params
from yoloslim.orchestration.assets import publish_assets
from yoloslim.orchestration.runners import run_logger
from yoloslim.orchestration.variant_run import Event, Listener
from yoloslim.report.sweep_table import effort, outcome, sweep_grid
from yoloslim.report.tables import Grid
from yoloslim.results.records import Row
from yoloslim.results.results import read_results

COUNTED = ("asked", "measured", "failed")
SPEAKING = ("line", "stage", "warning")
"""Kinds of events whose text says all."""
LEVELS = {"warning": logging.WARNING, "again": logging.WARNING, "failed": logging.ERROR}
"""Kind of an event -> how its line in the log is marked; else as information."""


def shown_params(params: Params) -> dict[str, Any]:
    """Plain values that say which sweep this is."""
    wanted = params.sweep.model_dump(mode="json")
    return {"model": params.model, "imgsz": params.imgsz, "data": params.data.source, **wanted}


def run_name(what: str) -> str:
    """What Prefect calls a run of something in the current folder."""
    return f"{what} {load_params().model} in {Path.cwd().name}"


def words_of(event: Event) -> str:
    """An event as a line of a log; empty where it says nothing."""
    words = [event.kind] if event.kind not in SPEAKING else []
    words += [event.job.name] if event.job else []
    return " ".join([*words, event.text]).strip()


class FlowRecord:
    """A listener that also writes to the log of the flow run that it is made in, and keeps its progress up to date."""

    def __init__(self, checkout: Path, listen: Listener) -> None:
        """Take the sweep's checkout and who else is told."""
        from prefect.artifacts import create_progress_artifact

        self.checkout, self._listen, self._logger = checkout, listen, run_logger()
        self._count = dict.fromkeys(COUNTED, 0)
        self._progress: Any = None
        with only_shown():
            self._progress = create_progress_artifact(
                0.0, key="progress", description="done, of the points that the search has asked for so far"
            )

    def listen(self, event: Event) -> None:
        """Tell the sweep's listener, the log and the progress."""
        self._listen(event)
        if said := words_of(event):
            self._logger.log(LEVELS.get(event.kind, logging.INFO), said)
        if event.kind in COUNTED:
            self._count[event.kind] += 1
            self._show_progress()

    def _show_progress(self) -> None:
        from prefect.artifacts import update_progress_artifact

        done = self._count["measured"] + self._count["failed"]
        share = 100.0 * done / max(1, self._count["asked"], done)
        with only_shown():
            update_progress_artifact(self._progress, min(99.0, share))

    def publish(self, result: SweepResult) -> None:
        """Tables, the chart, and where the report lies, as artifacts of the flow run."""
        with only_shown():
            self._publish(result)

    def _publish(self, result: SweepResult) -> None:
        from prefect.artifacts import create_markdown_artifact, create_table_artifact, update_progress_artifact

        update_progress_artifact(self._progress, 100.0)
        create_table_artifact(table=_records(sweep_grid(result)), key="points", description=outcome(result))
        text = "\n\n".join([outcome(result), effort(result), sweep_grid(result).markdown()])
        create_markdown_artifact(text, key="result", description="what the sweep found")
        publish_models(self.checkout)


def publish_models(checkout: Path) -> None:
    """Models as assets, the chart that compares them, and where the report lies, from within a flow run."""
    from prefect.artifacts import create_link_artifact, create_markdown_artifact

    results = read_results(checkout, load_params(checkout / "params.yaml").model_dump(mode="json"))
    publish_assets(results)
    report = checkout / "report" / "index.html"
    if report.is_file():
        create_link_artifact(report.as_uri(), link_text=str(report), key="report", description="the page")
    if any(row.kind == "pruned" for row in results.rows):
        about = "mAP50, parameters and speed by percent"
        # the page of an image artifact would print the whole data URI below the picture
        create_markdown_artifact(f"![{about}]({_chart(results.rows)})", key="comparison", description=about)


@contextmanager
def only_shown() -> Iterator[None]:
    """What is only shown must not end a sweep: the server may be away by now."""
    try:
        yield
    except Exception as error:
        logging.getLogger("yoloslim").debug("Prefect was not shown this: %s", error)


def _records(grid: Grid) -> list[Mapping[str, str]]:
    return [dict(zip(grid.header, line, strict=True)) for line in grid.rows]


def _chart(rows: Sequence[Row]) -> str:
    """The comparison as a data URI."""
    from yoloslim.report.plots import comparison
    from yoloslim.report.style import side_by_side

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "comparison.png"
        side_by_side(comparison(rows), path, dpi=80)
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
