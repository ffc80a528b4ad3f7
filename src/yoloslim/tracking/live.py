"""Curves in MLflow while a training runs.

A thread of its own sends every finished epoch, all its numbers at once, and goes without a word when no server is
there: tracking neither slows a training nor stops one. A training that was killed and resumed finds its run again, by
the key of its inputs, and adds what is missing. When the files are there, `mlflow.sync` makes the run that
stays, and this one goes.
"""

import logging
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from yoloslim.errors import TrackingError, TrainError
from yoloslim.results.lineage import COMMIT, commit_of
from yoloslim.results.links import SLOT
from yoloslim.results.uris import absolute_uri
from yoloslim.tracking.connection import CHECKOUT, KEY, TRAINING, Connection, reaching
from yoloslim.tracking.naming import curves_of
from yoloslim.tracking.origin import MADE_BY, NOTE, origin_tags
from yoloslim.tracking.under_way import lock_path
from yoloslim.training.callback import Callback, State

logger = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""How long a training that is over waits for its last epochs to be sent; `sync` adds what is missing."""


@dataclass(frozen=True)
class Target:
    """Where the curves of a training go.

    Attributes:
        root: the project's folder.
        uri: tracking URI; a relative SQLite path is below the root.
        experiment: its name.
        slot: the row that the training is for, such as `prune@50`.
        key: hash of all that the training depends on.
        params: what is shown beside the curves.
        tags: likewise.
    """

    root: Path
    uri: str
    experiment: str
    slot: str
    key: str
    params: Mapping[str, str]
    tags: Mapping[str, str]


class LiveCurves(Callback):
    """Sends epochs to MLflow. Put it last, so that it sees the columns of other callbacks, and use it as a context.

    A training that is over after its first epoch has no curves, and is left to `sync`.
    """

    def __init__(self, target: Target | None) -> None:
        """Take a target; None sends nothing."""
        self.target = target
        self._rows: queue.SimpleQueue[dict[str, float] | None] = queue.SimpleQueue()
        self._end = ("FINISHED", "")
        self._thread: threading.Thread | None = None
        self._lock = FileLock(lock_path(target.root, target.key)) if target else None

    def start(self, state: State) -> None:
        """Send what an interrupted training had already reached."""
        if state.history:
            self._send(*state.history)

    def after_epoch(self, state: State) -> dict[str, float]:
        """Send the epoch; adds no columns."""
        if self._thread or state.epoch + 1 < state.epochs:
            self._send(state.history[-1])
        return {}

    def __enter__(self) -> Self:
        """Say that this training is under way."""
        try:
            if self._lock:
                Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire(blocking=False)
        except (OSError, Timeout) as error:  # another process trains the very same, or the disk is read-only
            logger.debug("no live curves: %s", error)
            self.target = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the run with what became of the training, without waiting long."""
        if isinstance(error, TrainError):
            self._end = ("FAILED", str(error))
        elif error is not None:
            self._end = ("KILLED", "")
        if self._thread:
            self._rows.put(None)
            self._thread.join(PATIENCE_S)
        if self._lock:
            self._lock.release()

    def _send(self, *rows: dict[str, float]) -> None:
        if not self.target:
            return
        for row in rows:
            self._rows.put(dict(row))
        if not self._thread:
            self._thread = threading.Thread(target=self._work, args=(self.target,), name="live curves", daemon=True)
            self._thread.start()

    def _work(self, target: Target) -> None:
        """The thread: send what has come in, all at once; keep it for the next time when that fails."""
        run, waiting, said, over = _Run(target), [], False, False
        while not over:
            rows = [self._rows.get()]
            while not self._rows.empty():
                rows.append(self._rows.get())
            over = None in rows
            waiting += [row for row in rows if row is not None]
            try:
                run.send(waiting, self._end if over else None)
                waiting = []
            except TrackingError as error:
                if not said:
                    logger.warning("no live curves for now: %s", error)
                said = True


class _Run:
    """A run in MLflow, made or found again when the first epoch is there."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.uri = absolute_uri(target.uri, target.root)
        self.connection: Connection | None = None
        self.run_id = ""
        self.sent = 0

    def send(self, rows: list[dict[str, float]], end: tuple[str, str] | None) -> None:
        """Send epochs in one call, and close the run if this is the end.

        Raises:
            TrackingError: it did not work; call again with these rows.
        """
        root = self.target.root.resolve()
        with reaching(self.uri, root):
            from mlflow.entities import Metric

            self.connection = self.connection or Connection(self.uri, self.target.experiment, root)
            client = self.connection.client
            self.run_id = self.run_id or self._find_or_make(self.connection)
            now = int(time.time() * 1000)
            points = [Metric(name, v, now, step) for step, name, v in curves_of(rows) if step > self.sent]
            if points:
                client.log_batch(self.run_id, metrics=points)
            self.sent = max([self.sent, *(int(row["epoch"]) for row in rows)])
            if end:
                state, note = end
                if note:
                    client.set_tag(self.run_id, NOTE, note)
                client.set_terminated(self.run_id, state)

    def _find_or_make(self, connection: Connection) -> str:
        from mlflow.entities import Param

        client, target = connection.client, self.target
        for run in connection.runs(TRAINING, target.key):
            if KEY not in run.data.tags and run.data.tags.get(CHECKOUT) == connection.checkout:
                client.update_run(run.info.run_id, status="RUNNING")
                self.sent = connection.last_step(run.info.run_id)
                return str(run.info.run_id)
        tags = {SLOT: target.slot, TRAINING: target.key, CHECKOUT: connection.checkout, **target.tags}
        tags |= origin_tags(MADE_BY[target.tags["stage"]])
        commit = commit_of(target.root)
        tags |= {COMMIT: commit} if commit else {}
        run_id = client.create_run(connection.experiment, run_name=target.slot, tags=tags).info.run_id
        client.log_batch(run_id, params=[Param(name, value) for name, value in target.params.items()])
        return str(run_id)
