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
        self.number = _experiment_number(uri, experiment)

    @property
    def all(self) -> str:
        """The experiment, or the list of experiments where its number is not known."""
        return f"{self.server}/#/experiments" + (f"/{self.number}/runs" if self.number else "")

    def of(self, row: Row) -> str:
        """The current run of a model."""
        query = f"tags.`{SLOT}` = '{row.name}' and tags.`{CURRENT}` = 'true'"
        return f"{self.all}?searchFilter={quote(query, safe='')}" if self.number else self.all


def _experiment_number(uri: str, name: str) -> str:
    """MLflow's number of an experiment, as the local database or nobody knows it; empty if it is not known."""
    database = database_of(uri)
    if database is None or not database.is_file():
        return ""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection,
    ):
        row = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""
    return ""
