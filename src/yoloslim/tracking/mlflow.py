"""MLflow follows the files: one run for each row, keyed by what the stages produced.

`sync` may be called at any time and any number of times. A run that already shows these very numbers and this very
model is left alone, an interrupted one is made again, an older one of the same name is marked as not current. Those of
a copy that `dvc exp run` made are called by its experiment, and leave alone what is current. A run
that followed the training live (`tracking.live`) makes room for it, since the compare view begins with the metric that
a run was given first.
"""

import contextlib
import logging
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yoloslim.data.images import read_image
from yoloslim.data.voc import load_split
from yoloslim.errors import YoloslimError
from yoloslim.files import read_json, write_json
from yoloslim.report.cuts import layers_markdown, ranked_by
from yoloslim.results.lineage import COMMIT, commit_of, lineage_tags
from yoloslim.results.links import CURRENT, SLOT
from yoloslim.results.records import Row
from yoloslim.results.results import Results
from yoloslim.results.uris import absolute_uri, database_of, without_password
from yoloslim.tracking.champion import IsBetter
from yoloslim.tracking.comparison import COMPARISON, ZERO_ROW, bring_comparison_in_line, comparison_key
from yoloslim.tracking.connection import (
    CHECKOUT,
    KEY,
    PARAMS_BATCH,
    TRAINING,
    TRIAL,
    Connection,
    reaching,
    trial_ending,
)
from yoloslim.tracking.drawing import Drawing
from yoloslim.tracking.moved import came_from
from yoloslim.tracking.naming import curves_of, data_set, ranges_tags, run_key, run_metrics, run_params
from yoloslim.tracking.origin import MADE_BY, NOTE, described, origin_tags
from yoloslim.tracking.served import can_be_served, write_model
from yoloslim.tracking.sweep_runs import SWEEP_SLOT, SweepRuns, content_key, promote_winner
from yoloslim.tracking.under_way import is_training

logger = logging.getLogger(__name__)

STATE = Path(".cache") / "tracking.json"
"""Remembers, below the root, what a server was told last; SQLite stores are asked themselves."""

BATCH = 1000
"""Metrics that one `log_batch` may carry."""
ABANDONED_MS = 15 * 60 * 1000
"""An unfinished run of another checkout is taken for dead after this long."""


@dataclass(frozen=True)
class SyncResult:
    """What `sync` did, by row name.

    Attributes:
        created: rows that got a run now.
        unchanged: rows whose run was there.
        uri: the tracking URI, absolute, without its password.
        champion: what became of the sweep's winner in the model registry, in a sentence; empty if nothing changed.
    """

    created: tuple[str, ...]
    unchanged: tuple[str, ...]
    uri: str
    champion: str = ""


def sync(
    results: Results,
    uri: str,
    experiment: str,
    *,
    better: IsBetter | None = None,
    force: bool = False,
) -> SyncResult:
    """Bring MLflow in line with results: a run for each row, and the last sweep's with its points.

    Args:
        results: what the files say.
        uri: tracking URI; a relative SQLite path is below the project's folder, and artifacts go to `mlartifacts`
            beside it.
        experiment: name of the MLflow experiment, made if missing, and of the model in the registry.
        better: whether a sweep's winner is better than the champion; None leaves the registry alone.
        force: ask the server even if the state file says that it knows everything.

    Raises:
        TrackingError: the store cannot be reached, or refuses; nothing is lost, call again later.
    """
    root, rows, sweep = results.root, results.rows, results.swept
    uri = absolute_uri(uri, root)
    keys = {row.name: run_key(row) for row in rows}
    compared = comparison_key(keys)
    keys |= {SWEEP_SLOT: content_key(sweep)} if sweep else {}
    known = keys | ({COMPARISON: compared} if compared else {})
    if not force and is_known(root, uri, experiment, known):
        return SyncResult((), tuple(keys), without_password(uri))
    champion = ""
    with reaching(uri, root):
        connection = Connection(uri, experiment, root)
        created = _Session(connection, results).bring_in_line(keys)
        if compared and not connection.trial:  # the baseline's run may be the checkout's
            bring_comparison_in_line(connection, results, compared, keys[ZERO_ROW])
        if sweep:
            runs = SweepRuns(connection, results, sweep)
            created += runs.bring_in_line()
            if better:
                champion = promote_winner(connection, experiment, runs, rows, better)
            runs.finish()
    if not uri.startswith("sqlite:"):
        write_json(root / STATE, _state(uri, experiment, known))
    unchanged = tuple(name for name in keys if name not in created)
    return SyncResult(tuple(created), unchanged, without_password(uri), champion)


class _Session:
    """One sync."""

    def __init__(self, connection: Connection, results: Results) -> None:
        self.client, self.experiment = connection.client, connection.experiment
        self.checkout, self.trial, self.connection = connection.checkout, connection.trial, connection
        self.results, self.root = results, results.root
        self.commit = commit_of(results.root)

    def bring_in_line(self, keys: Mapping[str, str]) -> list[str]:
        """Make the missing runs, mark which are current; returns the names of rows that got a run."""
        runs, followed = self.connection.runs(KEY), self._followed()
        done, present = {}, {}
        for row in self.results.rows:
            same_slot = [run for run in runs if run.data.tags.get(SLOT) == row.name]
            done[row.name] = [run for run in same_slot if run.info.status == "FINISHED"]
            for run in same_slot:
                if run not in done[row.name] and self._is_dead(run):
                    self.client.delete_run(run.info.run_id)
            present[row.name] = [run for run in done[row.name] if run.data.tags[KEY] == keys[row.name]]
            for run in present[row.name][1:]:  # two checkouts told a server at the same time
                self.client.delete_run(run.info.run_id)
        missing = [row for row in self.results.rows if not present[row.name]]
        with Drawing(self.root, missing) as self.drawing:
            for row in self.results.rows:
                live = followed.get(row.training)
                if not present[row.name]:
                    self._make(row, keys[row.name], live)
                if live:
                    self.client.delete_run(live.info.run_id)
                for run in () if self.trial else done[row.name]:
                    self.connection.mark(run, current=run in present[row.name][:1])
        return [row.name for row in missing]

    def _followed(self) -> dict[str, Any]:
        """Runs that followed a training of this checkout live and were not completed, by the training's key.

        Those whose training was killed, so that nobody said so, are marked.
        """
        found = {}
        for run in self.connection.runs(TRAINING):
            key = run.data.tags[TRAINING]
            mine = KEY not in run.data.tags and run.data.tags.get(CHECKOUT) == self.checkout
            if not mine or is_training(self.root, key):
                continue
            if run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, "KILLED")
            found[key] = run
        return found

    def _is_dead(self, run: Any) -> bool:
        mine = bool(run.data.tags.get(CHECKOUT) == self.checkout)  # and the lock says that nobody else is at it here
        return mine or time.time() * 1000 - float(run.info.start_time) > ABANDONED_MS

    def _make(self, row: Row, key: str, live: Any | None) -> None:
        """Make a run; of a training that was followed live it has the times."""
        tags = {KEY: key, SLOT: row.name, CHECKOUT: self.checkout, "stage": row.kind}
        tags |= {CURRENT: "false", TRIAL: self.trial} if self.trial else {CURRENT: "true"}
        tags |= {"percent": str(row.percent), "backend": row.backend}
        tags |= origin_tags(MADE_BY[row.kind]) | {NOTE: described(row, self.results.rows)}
        tags |= lineage_tags(self.results.hashes, row.percent if row.kind == "pruned" else None)
        tags |= {COMMIT: self.commit} if self.commit else {}
        tags |= {"atc": row.compiled} if row.compiled else {}
        tags |= {"ranked_by": ranked_by(row.report)} if "importance" in row.report else {}
        tags |= ranges_tags(row)
        if "preprocessing" in row.deployed:
            tags["preprocessing"] = str(row.deployed["preprocessing"])
        start, end = (live.info.start_time, live.info.end_time) if live else (None, None)
        name = row.name + trial_ending(self.trial)
        run = self.client.create_run(self.experiment, start_time=start, run_name=name, tags=tags)
        run_id = run.info.run_id
        self._log_numbers(run_id, row)
        if data := data_set(self.results.hashes, self.results.params):
            self.client.log_inputs(run_id, datasets=[data])
        self._log_model(run_id, row)
        self._log_pictures(run_id, row)
        self.client.log_dict(run_id, self.results.shown_params, "params.yaml")
        self.client.set_terminated(run_id, "FINISHED", end)  # last: a run without it counts as interrupted

    def _log_model(self, run_id: str, row: Row) -> None:
        """The weights as a file, and the exported graph as a model that MLflow can load and serve."""
        if row.model:
            self.client.log_artifact(run_id, str(row.model), "weights")
        if not row.onnx or not can_be_served(row.onnx):
            return
        from mlflow.entities import LoggedModelOutput

        name = "detector"
        made = self.client.create_logged_model(self.experiment, name, run_id, params=run_params(row.percent, {}))
        with tempfile.TemporaryDirectory() as folder:
            write_model(row.onnx, Path(folder) / name, self._example, made.model_id)
            self.client.log_model_artifacts(made.model_id, str(Path(folder) / name))
        self.client.finalize_logged_model(made.model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])

    @cached_property
    def _example(self) -> bytes:
        """A picture to try a model on: the first test image."""
        import cv2
        import numpy as np

        data, side = self.root / "data" / "voc", 320
        image = np.full((side, side, 3), 114, np.uint8)
        with contextlib.suppress(YoloslimError):  # data that is not here
            image = read_image(load_split(data, "test").image_path(0))
        scale = min(1.0, side / max(image.shape[:2]))
        size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
        return cv2.imencode(".jpg", cv2.resize(image, size)[..., ::-1])[1].tobytes()

    def _log_pictures(self, run_id: str, row: Row) -> None:
        self.client.log_artifacts(run_id, str(self.drawing.pictures_of(row)), "plots")
        if row.report:
            self.client.log_dict(run_id, row.report, "pruning/report.json")
            self.client.log_text(run_id, layers_markdown(row), "pruning/layers.md")

    def _log_numbers(self, run_id: str, row: Row) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in run_metrics(row).items()]
        metrics += [Metric(*point, now, step) for step, *point in curves_of(row.epochs)]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        values = [Param(k, v) for k, v in run_params(row.percent, self.results.params).items()]
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
        JOIN tags k ON k.run_uuid = r.run_uuid AND k.key IN (?, ?)
        JOIN tags c ON c.run_uuid = r.run_uuid AND c.key = ? AND c.value = 'true'
        WHERE e.name = ? AND e.lifecycle_stage = 'active' AND r.status = 'FINISHED' AND r.lifecycle_stage = 'active'
    """
    try:
        if came_from(database):
            return False
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            found = {value for (value,) in connection.execute(query, (KEY, COMPARISON, CURRENT, experiment))}
    except (sqlite3.Error, UnicodeDecodeError) as error:  # other tables, damaged texts: MLflow itself will say
        logger.debug("cannot read %s directly: %s", database, error)
        return False
    return set(keys.values()) <= found


def _state(uri: str, experiment: str, keys: Mapping[str, str]) -> dict[str, Any]:
    return {"uri": without_password(uri), "experiment": experiment, "keys": dict(keys)}
