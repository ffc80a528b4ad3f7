"""Where a model came from: its hashes in dvc.lock, its run in MLflow, and the commands that make it again."""

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yoloslim.tracking.connection import CURRENT, SLOT
from yoloslim.tracking.lineage import Output
from yoloslim.tracking.records import Row
from yoloslim.tracking.uris import absolute_uri, database_of, without_password

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make ui` shows a SQLite store."""
STAGES = ("prune", "finetune", "export", "atc", "ascend_eval")
"""Stages of one percent."""


def outputs_of(row: Row, found: Sequence[Output]) -> list[Output]:
    """Those of the stages that made this row, the data first."""
    if row.kind == "pruned":
        names = {f"{stage}@{row.percent}" for stage in STAGES}
    else:
        names = {row.kind, *(f"{stage}_{row.kind}" for stage in STAGES)}
    return [out for out in found if out.stage in {"data", *names} and out.path.startswith(("data", "models"))]


def commands(best: Row | None, variant: str = "") -> list[tuple[str, str]]:
    """What to type to get the model again, and to use it: explanation and command.

    Args:
        best: the winner, if its files are here.
        variant: name of the winner of a sweep whose files lie elsewhere; empty for none.
    """
    lines = [("Install what is pinned", "make setup")]
    if best is None and variant:
        lines.append(("Give this checkout the winner's parameters and hashes", f"yoloslim sweep --apply '{variant}'"))
        return [*lines, ("Restore its files from DVC's cache, and this page", "make repro")]
    if best is None:
        return [*lines, ("Make everything", "make repro")]
    stages = " ".join(f"{stage}@{best.percent}" for stage in STAGES)
    lines += [
        ("Fetch the results, where a DVC remote is set up", "dvc pull"),
        (
            "Make the winner again from the data on; what is in DVC's cache is restored instead of run",
            f"dvc repro {stages}",
        ),
        ("Or all models and this page", "make repro"),
    ]
    shown = best.onnx or best.model
    if shown:
        path = (
            f"models/export/{best.percent}/{shown.name}"
            if best.onnx
            else f"models/finetune/{best.percent}/{shown.name}"
        )
        lines.append(("Use it: boxes on your own images", f"yoloslim detect {path} photo.jpg"))
    return lines


class RunLinks:
    """Links to MLflow's page. Runs are found by their tags, so that a link needs no run's id.

    Args:
        uri: tracking URI; a relative SQLite path is below `root`.
        experiment: name of the experiment.
        root: folder of the project.
    """

    def __init__(self, uri: str, experiment: str, root: Path) -> None:
        uri = absolute_uri(uri, root)
        self.server = without_password(uri).rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL_UI
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


def shown_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they may be shown: the tracking URI may hold a password, and a page is made to be passed on."""
    return {name: value for name, value in params.items() if name != "tracking"}
