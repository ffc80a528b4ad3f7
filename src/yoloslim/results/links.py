"""Where results are in MLflow: the tags by which their runs are found, and links to its page."""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from yoloslim.commands import to_type
from yoloslim.results.records import Row
from yoloslim.results.uris import absolute_uri, database_of, without_password

SLOT, CURRENT = "yoloslim.slot", "yoloslim.current"
"""Tags of a run: the row it is for, and, of a complete run, whether the files still hold what it shows."""
VIEW = "yoloslim"
"""Key of the saved view of the experiment in which the list of runs shows what models cost and find."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
"""Where MLflow's page looks for it, among the tags of the experiment."""
LOCAL_UI = "http://127.0.0.1:5000"
"""Where `start` shows a SQLite store."""


class RunLinks:
    """Links to MLflow's page. Runs are found by their tags, so that a link needs no run's id.

    Attributes:
        server: where the page is.
        start: the command that starts it; empty where it runs elsewhere.

    Args:
        uri: tracking URI; a relative SQLite path is below `root`.
        experiment: name of the experiment.
        root: folder of the project.
    """

    def __init__(self, uri: str, experiment: str, root: Path) -> None:
        uri = absolute_uri(uri, root)
        remote = uri.startswith(("http://", "https://"))
        self.server = without_password(uri).rstrip("/") if remote else LOCAL_UI
        self.start = "" if remote else to_type("ui")
        self.experiment = experiment
        self.number, self._has_view = _known(uri, experiment)

    @property
    def all(self) -> str:
        """The experiment, in its saved view if it has one; or the list of experiments where its number is not known."""
        return self._runs(f"viewStateShareKey={VIEW}" if self._has_view else "")

    def of(self, row: Row) -> str:
        """The current run of a model."""
        query = f"tags.`{SLOT}` = '{row.name}' and tags.`{CURRENT}` = 'true'"
        return self._runs(f"searchFilter={quote(query, safe='')}")

    def _runs(self, query: str) -> str:
        if not self.number:
            return f"{self.server}/#/experiments"
        # without the type MLflow shows an empty page of traces around them
        query = "&".join(part for part in ("workflowType=machine_learning", query) if part)
        return f"{self.server}/#/experiments/{self.number}/runs?{query}"


def _known(uri: str, name: str) -> tuple[str, bool]:
    """MLflow's number of an experiment, empty if the local database does not know it; whether it has the saved view."""
    database = database_of(uri)
    if database is None or not database.is_file():
        return "", False
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection,
    ):
        row = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
        query = "SELECT 1 FROM experiment_tags WHERE experiment_id = ? AND key = ?"
        return (str(row[0]), bool(connection.execute(query, (row[0], VIEW_TAG)).fetchone())) if row else ("", False)
    return "", False
