"""MLflow follows the files: one run for each row, keyed by what the stages produced.

`sync` may be called at any time and any number of times. A run that already shows these very numbers and this very
model is left alone, an interrupted one is made again, an older one of the same name is marked as not current.
"""

import contextlib
import hashlib
import logging
import os
import platform
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from yoloslim.errors import TrackingError, YoloslimError
from yoloslim.files import read_json, write_json
from yoloslim.tracking.naming import curve_name, run_params
from yoloslim.tracking.records import Row, read_rows
from yoloslim.tracking.uris import absolute_uri, database_of, without_password

logger = logging.getLogger(__name__)

KEY, SLOT, CURRENT, CHECKOUT = "yoloslim.key", "yoloslim.slot", "yoloslim.current", "yoloslim.checkout"
STATE = Path(".cache") / "tracking.json"
"""Remembers, below the root, what a server was told last; SQLite stores are asked themselves."""

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow's page to show runs and their charts, not traces of language models."""
BATCH = 1000
"""Metrics that one `log_batch` may carry."""
PARAMS_BATCH = 100
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Defaults for variables that the user has not set: training must not wait minutes for a server that is away."""
CONNECT_TIMEOUT_S = 3.0
ABANDONED_MS = 15 * 60 * 1000
"""An unfinished run of another checkout is taken for dead after this long."""


@dataclass(frozen=True)
class SyncResult:
    """What `sync` did, by row name.

    Attributes:
        created: rows that got a run now.
        unchanged: rows whose run was there.
        uri: the tracking URI, absolute, without its password.
    """

    created: tuple[str, ...]
    unchanged: tuple[str, ...]
    uri: str


def sync(root: Path, params: Mapping[str, Any], uri: str, experiment: str, *, force: bool = False) -> SyncResult:
    """Bring MLflow in line with the files under `root`.

    Args:
        root: folder with `metrics/`, `models/` and `plots/`.
        params: params.yaml as a nested dictionary; its `percents` say which percents count.
        uri: tracking URI; a relative SQLite path is below `root`, its artifacts go to `mlartifacts` beside it.
        experiment: name of the MLflow experiment, made if missing.
        force: ask the server even if the state file says that it knows everything.

    Raises:
        TrackingError: the store cannot be reached, or refuses; nothing is lost, call again later.
    """
    root = root.resolve()
    uri = absolute_uri(uri, root)
    rows = read_rows(root, params.get("percents"))
    keys = {row.name: row.key() for row in rows}
    if not force and is_known(root, uri, experiment, keys):
        return SyncResult((), tuple(keys), without_password(uri))
    _probe(uri)
    with _quiet(), _lock(uri, root):
        try:
            created = _Session(uri, experiment, root).bring_in_line(rows, keys, params)
        except OSError as error:  # what requests and files raise
            raise TrackingError(_failed(uri, error)) from error
        except Exception as error:
            if type(error).__module__.startswith(("mlflow.", "sqlalchemy.")):  # not imported before they are needed
                raise TrackingError(_failed(uri, error)) from error
            raise
    if not uri.startswith("sqlite:"):
        write_json(root / STATE, _state(uri, experiment, keys))
    return SyncResult(tuple(created), tuple(name for name in keys if name not in created), without_password(uri))


class _Session:
    """A connection to the experiment."""

    def __init__(self, uri: str, experiment: str, root: Path) -> None:
        from mlflow import MlflowClient  # 1.3 to 3 s, and only needed when something changed

        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self._experiment(experiment, uri)
        self.data = root / "data" / "voc"
        self.checkout = hashlib.sha256(f"{platform.node()}:{root}".encode()).hexdigest()[:16]

    def _experiment(self, name: str, uri: str) -> str:
        known = self.client.get_experiment_by_name(name)
        if known is not None:
            if known.lifecycle_stage != "active":
                raise TrackingError(
                    f"MLflow's experiment '{name}' at {without_password(uri)} was deleted; restore it there "
                    f"(`mlflow experiments restore -x {known.experiment_id}`), or set another tracking.experiment"
                )
            return str(known.experiment_id)
        database = database_of(uri)
        location = (database.parent / "mlartifacts").as_uri() if database else None
        return str(self.client.create_experiment(name, artifact_location=location, tags=KIND))

    def bring_in_line(self, rows: Sequence[Row], keys: Mapping[str, str], params: Mapping[str, Any]) -> list[str]:
        """Make the missing runs, mark which are current; returns the names of rows that got a run."""
        runs = self._runs()
        created = []
        for row in rows:
            same_slot = [run for run in runs if run.data.tags.get(SLOT) == row.name]
            done = [run for run in same_slot if run.info.status == "FINISHED"]
            for run in same_slot:
                if run not in done and self._is_dead(run):
                    self.client.delete_run(run.info.run_id)
            present = [run for run in done if run.data.tags[KEY] == keys[row.name]]
            for run in present[1:]:  # two checkouts told a server at the same time
                self.client.delete_run(run.info.run_id)
            if not present:
                self._create(row, keys[row.name], params)
                created.append(row.name)
            for run in done:
                self._mark(run, current=run in present[:1])
        return created

    def _runs(self) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment], page_token=token, order_by=["attributes.start_time ASC"])
            found += [run for run in page if KEY in run.data.tags]
            token = page.token
            if not token:
                return found

    def _is_dead(self, run: Any) -> bool:
        mine = bool(run.data.tags.get(CHECKOUT) == self.checkout)  # and the lock says that nobody else is at it here
        return mine or time.time() * 1000 - float(run.info.start_time) > ABANDONED_MS

    def _mark(self, run: Any, *, current: bool) -> None:
        text = str(current).lower()
        if run.data.tags.get(CURRENT) != text:
            self.client.set_tag(run.info.run_id, CURRENT, text)

    def _create(self, row: Row, key: str, params: Mapping[str, Any]) -> None:
        tags = {KEY: key, SLOT: row.name, CURRENT: "true", CHECKOUT: self.checkout, "stage": row.kind}
        tags |= {"percent": str(row.percent), "backend": row.backend}
        tags |= {"atc": row.compiled} if row.compiled else {}
        if "preprocessing" in row.deployed:
            tags["preprocessing"] = str(row.deployed["preprocessing"])
        run_id = self.client.create_run(self.experiment, run_name=row.name, tags=tags).info.run_id
        self._log_numbers(run_id, row, params)
        for file in (row.model, row.onnx):
            if file:
                self.client.log_artifact(run_id, str(file), "model")
        from yoloslim.tracking.pictures import draw_row  # matplotlib takes a second

        with tempfile.TemporaryDirectory() as folder:
            draw_row(row, self.data, Path(folder))
            self.client.log_artifacts(run_id, folder, "plots")
        self.client.set_terminated(run_id, "FINISHED")  # last: a run without it counts as interrupted

    def _log_numbers(self, run_id: str, row: Row, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in row.metrics().items()]
        for epoch in row.epochs:
            step = int(epoch["epoch"])
            metrics += [Metric(curve_name(k), v, now, step) for k, v in epoch.items() if k != "epoch"]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        values = [Param(name, value) for name, value in run_params(row, params).items()]
        for start in range(0, len(values), PARAMS_BATCH):
            self.client.log_batch(run_id, params=values[start : start + PARAMS_BATCH])


def is_known(root: Path, uri: str, experiment: str, keys: Mapping[str, str]) -> bool:
    """Whether a look at files is enough to see that every row has its run."""
    database = database_of(uri)
    if database is None:
        try:
            return bool(read_json(root / STATE) == _state(uri, experiment, keys))
        except YoloslimError:
            return False
    if not database.is_file():
        return False
    query = """
        SELECT k.value FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id
        JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = ?
        JOIN tags c ON c.run_uuid = r.run_uuid AND c.key = ? AND c.value = 'true'
        WHERE e.name = ? AND e.lifecycle_stage = 'active' AND r.status = 'FINISHED' AND r.lifecycle_stage = 'active'
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            found = {value for (value,) in connection.execute(query, (KEY, CURRENT, experiment))}
    except sqlite3.Error as error:  # another version of MLflow's tables: ask MLflow itself
        logger.debug("cannot read %s directly: %s", database, error)
        return False
    return set(keys.values()) <= found


def _state(uri: str, experiment: str, keys: Mapping[str, str]) -> dict[str, Any]:
    return {"uri": without_password(uri), "experiment": experiment, "keys": dict(keys)}


def _probe(uri: str) -> None:
    """Fail within seconds where nobody listens; MLflow's own client would retry for minutes."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise TrackingError(_failed(uri, error)) from error


def _failed(uri: str, error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    away = isinstance(error, OSError) or "API request to" in lines[0]
    state = "cannot be reached" if away else "cannot be used"
    reason = lines[0].replace(uri, without_password(uri))[:200]
    return f"MLflow at {without_password(uri)} {state} ({reason}); nothing is lost, run `make track` later"


@contextlib.contextmanager
def _lock(uri: str, root: Path) -> Iterator[None]:
    """One sync at a time: MLflow's first use of a database is not safe in parallel, nor is look-then-create."""
    database = database_of(uri)
    path = database.parent / "mlartifacts" / ".lock" if database else root / STATE.with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
            yield
    except OSError as error:
        raise TrackingError(f"cannot lock {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Defaults for MLflow's environment, and silence where it only says what is normal."""
    added = [name for name in SETTINGS if name not in os.environ]
    os.environ.update({name: SETTINGS[name] for name in added})
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    levels = [item.level for item in loggers]
    for item in loggers:
        item.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        for item, level in zip(loggers, levels, strict=True):
            item.setLevel(level)
