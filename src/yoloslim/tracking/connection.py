"""The way to MLflow: one at a time, quietly, and without waiting for a server that is away."""

import contextlib
import hashlib
import json
import logging
import os
import platform
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from filelock import FileLock

from yoloslim.disk import disk_reason
from yoloslim.errors import TrackingError
from yoloslim.extras import advice, is_installed
from yoloslim.results.links import CURRENT, VIEW_TAG
from yoloslim.results.uris import DATABASES, database_of, trial_of, without_password, wrong_uri
from yoloslim.tracking.calls import Client, explain, later, request_timeout
from yoloslim.tracking.moved import FILES, bring_along
from yoloslim.tracking.store import ensure_store
from yoloslim.within import within

logger = logging.getLogger(__name__)

CHECKOUT, TRAINING, KEY, TRIAL = "yoloslim.checkout", "yoloslim.training", "yoloslim.key", "yoloslim.experiment"
"""Tags of a run, besides those that links need: where it was made, the key of the training that it followed live, once
it is complete, that of the results, and the name of DVC's experiment that made it in a copy."""
PARAMS_BATCH = 100
"""Params that one `log_batch` may carry."""

COLUMNS = ("map50", "map50_95", "params_m", "network/gflops", "speed_fps", "speedup")
_STATE = {
    "orderByKey": "metrics.`percent`",
    "orderByAsc": True,
    "selectedColumns": [*(f"metrics.`{name}`" for name in COLUMNS), "tags.`ranked_by`"],
}
ABOUT = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Each run is a model, dense or pruned: select some, then Compare. The baseline's run has "
    "the finished comparison below Artifacts.",
    VIEW_TAG: json.dumps({"name": "models", "createdAt": 0, "updatedAt": 0, "state": json.dumps(_STATE)}),
}
"""Tags of the experiment: MLflow's page is to show runs and their charts, not traces of language models; what the list
of experiments says of it; and a saved view, since the list of runs shows no metric of its own accord."""
SUPERSEDED = " (old)"
"""End of the name of a run that the files no longer hold."""
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Defaults for variables that the user has not set: training must not wait minutes for a server that is away."""
CONNECT_TIMEOUT_S = 3.0
DATABASE_TIMEOUT_S = 15.0


class Connection:
    """An experiment on a server or in a database, made where it is missing.

    Attributes:
        client: MLflow's, whose calls all end, and raise TrackingError alone.
        experiment: its id.
        checkout: stands for this folder on this machine.
        trial: DVC's experiment that this folder is a copy for; empty for a checkout, whose files say what is current.
    """

    def __init__(self, uri: str, experiment: str, root: Path) -> None:
        from mlflow import MlflowClient  # 1.3 to 3 s, and only needed when something changed

        if database := database_of(uri):
            ensure_store(database)
            bring_along(database)
        try:
            self.client: Any = Client(MlflowClient(tracking_uri=uri), uri)
        except Exception as error:  # a kind of store that it does not have
            raise TrackingError(explain(uri, error)) from error
        self.experiment = self._find_or_make(experiment, uri)
        self.trial = trial_of(root)
        self.checkout = hashlib.sha256(f"{platform.node()}:{root}".encode()).hexdigest()[:16]

    def runs(self, tag: str, value: str = "") -> list[Any]:
        """Runs that have a tag, of a value if one is given, the oldest first."""
        found: list[Any] = []
        token = None
        query = f"tags.`{tag}` = '{value}'" if value else f"tags.`{tag}` LIKE '%'"
        order = ["attributes.start_time ASC"]
        while True:
            page = self.client.search_runs([self.experiment], query, page_token=token, order_by=order)
            found += [run for run in page if tag in run.data.tags]
            token = page.token
            if not token:
                return found

    def mark(self, run: Any, *, current: bool) -> None:
        """Say whether the files still hold what a run shows: in a tag, and in its name, which lists of runs show."""
        number, text = run.info.run_id, str(current).lower()
        ending = trial_ending(run.data.tags.get(TRIAL, "")) or SUPERSEDED
        name = run.info.run_name.removesuffix(ending) + ("" if current else ending)
        if run.data.tags.get(CURRENT) != text:
            self.client.set_tag(number, CURRENT, text)
        if run.info.run_name != name:
            self.client.set_tag(number, "mlflow.runName", name)  # `update_run` on a server loses status and end

    def last_step(self, run_id: str) -> int:
        """The last epoch that a run has a loss of; 0 before the first."""
        points = self.client.get_metric_history(run_id, "train/loss")
        return max((int(point.step) for point in points), default=0)

    def _find_or_make(self, name: str, uri: str) -> str:
        known = self.client.get_experiment_by_name(name)
        if known is not None and known.lifecycle_stage != "active" and known.experiment_id:
            raise TrackingError(
                f"MLflow's experiment '{name}' at {without_password(uri)} was deleted; restore it there "
                f"(`MLFLOW_TRACKING_URI={without_password(uri)} mlflow experiments restore -x {known.experiment_id}`), "
                "or set another tracking.experiment"
            )
        if known is not None and VIEW_TAG not in known.tags:  # made by an earlier version, or by hand
            self.client.set_experiment_tag(known.experiment_id, VIEW_TAG, ABOUT[VIEW_TAG])
        number = str(known.experiment_id) if known is not None else self._make(name, uri)
        if not number:
            raise TrackingError(
                f"{without_password(uri)} answers, but not as MLflow does: the experiment '{name}' came without a "
                "number; check tracking.uri"
            )
        return number

    def _make(self, name: str, uri: str) -> str:
        database = database_of(uri)
        location = (database.parent / FILES).as_uri() if database else None
        try:
            return str(self.client.create_experiment(name, artifact_location=location, tags=ABOUT))
        except TrackingError:  # another machine made it between the question and this
            known = self.client.get_experiment_by_name(name)
            if known is None:
                raise
            return str(known.experiment_id)


def trial_ending(name: str) -> str:
    """End of the name of a run that DVC's experiment made in a copy, until its results are applied to the checkout."""
    return f" ({name})" if name else ""


@contextlib.contextmanager
def reaching(uri: str, root: Path) -> Iterator[None]:
    """Hold the store alone, and turn what disks and networks fail with into one error for people.

    MLflow's first use of a database is not safe in parallel, nor is look-then-create.

    Raises:
        TrackingError: the store cannot be reached, or refuses; nothing is lost, call again later.
    """
    if not is_installed("mlflow"):
        raise TrackingError(
            f"MLflow is not installed ({advice('mlflow')}), so nothing is logged; {later()}, or set "
            "tracking.enabled: false"
        )
    _probe(uri)
    with quiet(), _lock(uri, root):
        try:
            yield
        except OSError as error:
            raise TrackingError(explain(uri, error)) from error


def _probe(uri: str) -> None:
    """Fail within seconds where nobody listens, or a database refuses; MLflow's own client would retry for hours."""
    if wrong := wrong_uri(uri):
        raise TrackingError(f"tracking.uri '{without_password(uri)}' is no address of MLflow: {wrong}")
    parts = urlsplit(uri)
    try:
        if parts.scheme in ("http", "https"):
            port = parts.port or (443 if parts.scheme == "https" else 80)
            socket.create_connection((str(parts.hostname), port), CONNECT_TIMEOUT_S).close()
            _expect_answer(uri)
        elif parts.scheme.partition("+")[0] in DATABASES:
            within(DATABASE_TIMEOUT_S, _log_in, uri)
    except TimeoutError as error:
        raise TrackingError(explain(uri, ConnectionError("no answer"))) from error
    except Exception as error:  # whatever a database's driver raises
        raise TrackingError(explain(uri, error)) from error


def _expect_answer(uri: str) -> None:
    """Give up what listens and keeps silent after the time of one request, not after those of all retries.

    Whatever it answers, MLflow's own client is to judge it.

    Raises:
        TimeoutError: it says nothing.
    """
    try:
        within(request_timeout(), urlopen, f"{uri.rstrip('/')}/health")
    except TimeoutError:
        raise
    except Exception as error:  # a refusal, a certificate that only MLflow's client accepts ...
        logger.debug("%s: %s", without_password(uri), error)


def _log_in(uri: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    engine.connect().close()
    engine.dispose()


@contextlib.contextmanager
def _lock(uri: str, root: Path) -> Iterator[None]:
    database = database_of(uri)
    path = database.parent / FILES / ".lock" if database else root / ".cache" / "tracking.lock"
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = lock.acquire()
    except OSError as error:
        whose = f"tracking.uri is {uri}, but {path.parent}" if database else f"{path}"
        way = "give this user the right to it, or name another place in tracking.uri" if database else "mend that"
        raise TrackingError(f"{whose} cannot be written to ({disk_reason(error, root)}); {way}; {later()}") from error
    with held:
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Defaults for MLflow's environment, and silence where it only says what is normal."""
    added = [name for name in SETTINGS if name not in os.environ]
    os.environ.update({name: SETTINGS[name] for name in added})
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    levels = [item.level for item in loggers]
    for item in loggers:
        item.setLevel(logging.CRITICAL)  # with a traceback MLflow logs what it raises, too
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        for item, level in zip(loggers, levels, strict=True):
            item.setLevel(level)
