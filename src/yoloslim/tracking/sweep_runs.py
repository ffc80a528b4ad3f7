"""A sweep in MLflow: a parent run, and below it a run for every point, all with the same names.

As in `mlflow.sync`, the files are the truth: each call writes only what MLflow lacks, so that one that broke off, with
the server or with the sweep, is made good by the next.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from yoloslim.commands import to_type
from yoloslim.config.results import SweepPoint, SweepResult
from yoloslim.files import sha256_file
from yoloslim.results.lineage import COMMIT, commit_of, lineage_tags
from yoloslim.results.links import CURRENT, SLOT
from yoloslim.results.records import Row
from yoloslim.results.results import Results
from yoloslim.results.sweep_file import failed_log
from yoloslim.tracking.champion import IsBetter, promote
from yoloslim.tracking.comparison import log_comparison
from yoloslim.tracking.connection import CHECKOUT, KEY, PARAMS_BATCH, Connection
from yoloslim.tracking.naming import COMPARED, data_set, flat, run_key, run_metrics, run_params
from yoloslim.tracking.origin import MADE_BY, NOTE, origin_tags

SWEEP, POINT, PARENT = "yoloslim.sweep", "yoloslim.point", "mlflow.parentRunId"
"""Tags: what a parent was asked, as a hash; the name of a child's point; the parent's id, where MLflow looks for it."""
SWEEP_SLOT = "sweep"


def content_key(result: SweepResult) -> str:
    """SHA-256 of all that the sweep found."""
    return _sha256(result.model_dump(mode="json", exclude={"seconds"}))


def request_key(result: SweepResult, params: Mapping[str, Any]) -> str:
    """SHA-256 of what the sweep was asked and started from: while it lasts, the same; another sweep, another parent."""
    asked = result.model_dump(mode="json", include={"name", "objective", "constraints", "axes", "baseline", "sparse"})
    return _sha256([asked, flat(params)])


def point_row(point: SweepPoint) -> Row:
    """A point as a row, which gives its numbers the names that they have in every run."""
    trained, pruned, deployed = point.after, point.before, point.deployed
    return Row(point.name, "pruned", point.percent, trained=trained, pruned=pruned, deployed=deployed)


class SweepRuns:
    """The runs of one sweep.

    Attributes:
        parent: run id.
        children: run id of each point, by its name.
    """

    def __init__(self, connection: Connection, results: Results, result: SweepResult) -> None:
        self.connection, self.client = connection, connection.client
        self.results, self.result = results, result
        self.params, self.hashes = results.params, results.hashes
        self.commit = commit_of(results.root)
        self.parent = ""
        self.children: dict[str, str] = {}

    def bring_in_line(self) -> list[str]:
        """Make the runs that are missing, and write what they lack; names of points that got a run."""
        created = []
        self._delete_orphans()
        request = request_key(self.result, self.params)
        parents = self.connection.runs(SWEEP, request)
        known: dict[str, Any] = {}
        for run in self.connection.runs(PARENT, parents[0].info.run_id) if parents else ():
            if known.setdefault(run.data.tags[POINT], run) is not run:  # a request that was repeated, its answer lost
                self.client.delete_run(run.info.run_id)
        name = f"sweep: {self.result.name}"
        self.parent = self._line_up(parents[0] if parents else None, name, **self._of_parent(request))
        for point in self.result.points:
            run, name = known.get(point.name), f"{point.name} %"
            self.children[point.name] = self._line_up(run, name, **self._of_point(point))
            if point.name not in known:
                created.append(point.name)
            log = failed_log(self.results.root, point.name)
            if point.error and log.is_file():
                self.client.log_artifact(self.children[point.name], str(log))
        return created

    def _delete_orphans(self) -> None:
        """Points whose sweep somebody deleted: MLflow leaves them, and they would stand beside those of the new one."""
        points = self.connection.runs(POINT)  # before the sweeps: another machine may be making one
        sweeps = {run.info.run_id for run in self.connection.runs(SWEEP)}
        for run in points:
            if run.data.tags.get(PARENT) not in sweeps:
                self.client.delete_run(run.info.run_id)

    def finish(self) -> None:
        """Say that all of the sweep is there, and that earlier ones are not current."""
        self.client.log_dict(self.parent, self.result.model_dump(mode="json"), "sweep.json")
        self.client.log_dict(self.parent, self.results.shown_params, "params.yaml")
        log_comparison(self.client, self.parent, self.results, self.results.sweep or self.result)
        for run in self.connection.runs(SLOT, SWEEP_SLOT):
            mine = run.info.run_id == self.parent
            if mine or run.data.tags.get(CURRENT) == "true":  # else another machine is at it still
                self.connection.mark(run, current=mine)
        self.client.set_terminated(self.parent, "FINISHED")
        self.client.set_tag(self.parent, KEY, content_key(self.result))  # last: without it all of this is done again

    def _of_parent(self, request: str) -> dict[str, Any]:
        found = self.result
        best = next((point for point in found.points if point.name == found.winner), None)
        asked = {"objective": found.objective, **found.constraints.model_dump(), **found.axes}
        from yoloslim.report.sweep_table import outcome  # rich takes a moment

        tags = {SWEEP: request, SLOT: SWEEP_SLOT, CHECKOUT: self.connection.checkout, NOTE: outcome(found)}
        counts = {f"sweep/{n}": getattr(found, n) for n in ("probes", "finetunings", "grid_finetunings", "seconds")}
        counts |= {} if found.cliff is None else {"sweep/cliff": found.cliff}
        return {
            "tags": tags | {"winner": found.winner or ""} | lineage_tags(self.hashes),
            "params": {f"sweep.{name}": _text(value) for name, value in asked.items()},
            "metrics": (run_metrics(point_row(best)) if best else {}) | counts,
        }

    def _of_point(self, point: SweepPoint) -> dict[str, Any]:
        row = point_row(point)
        tags = {POINT: point.name, PARENT: self.parent, "status": point.status, NOTE: point.error or point.why}
        tags |= {"percent": str(point.percent), "backend": row.backend, "missed": "; ".join(point.missed)}
        tags |= {"winner": str(point.name == self.result.winner).lower(), "error": point.error}
        if not point.overrides:  # those of a variant are in a lock of its own
            tags |= lineage_tags(self.hashes, point.percent)
        values = run_params(point.percent, with_overrides(self.params, point.overrides))
        return {"tags": tags, "params": values, "metrics": run_metrics(row)}

    def _line_up(
        self,
        run: Any | None,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        metrics: Mapping[str, float],
    ) -> str:
        """Write what a run lacks, in as few calls as MLflow allows; makes it where there is none."""
        from mlflow.entities import Metric, Param, RunTag

        tags = dict(tags) | origin_tags(MADE_BY["sweep"]) | ({COMMIT: self.commit} if self.commit else {})
        if run is None:
            identity = {key: tags[key] for key in (SWEEP, POINT, PARENT) if key in tags}
            run = self.client.create_run(self.connection.experiment, run_name=name, tags=identity)
        run_id, there = str(run.info.run_id), run.data
        now = int(time.time() * 1000)
        new_metrics = [Metric(k, v, now, 0) for k, v in metrics.items() if there.metrics.get(k) != v]
        new_tags = [RunTag(k, v) for k, v in tags.items() if there.tags.get(k, "") != v]
        new_params = [Param(k, v) for k, v in params.items() if k not in there.params]
        if new_metrics or new_tags:
            self.client.log_batch(run_id, metrics=new_metrics, tags=new_tags)
        for batch in _batches(new_params, PARAMS_BATCH):
            self.client.log_batch(run_id, params=batch)
        if not there.tags.get(COMMIT) and (data := data_set(self.hashes, self.params)):
            self.client.log_inputs(run_id, datasets=[data])
        state = "FAILED" if tags.get("error") else "FINISHED"
        if POINT in tags and run.info.status != state:
            self.client.set_terminated(run_id, state)
        return run_id


def promote_winner(connection: Connection, name: str, runs: SweepRuns, rows: Sequence[Row], better: IsBetter) -> str:
    """Register a sweep's winner, whose model file is its row's; what became of it, in a sentence, or nothing."""
    sweep = runs.result
    point = next((point for point in sweep.points if point.name == sweep.winner), None)
    if not point:
        return ""
    if with_overrides(runs.params, point.overrides) != dict(runs.params):
        variant = point.name.rpartition("/")[0]
        ways = f"`yoloslim sweep --apply {variant}`, then `{to_type('repro')}` registers it"
        return f"the winner is of variant {variant}: {ways}"
    row = next((row for row in rows if row.kind == "pruned" and row.percent == point.percent), None)
    if not row or not row.model:
        return ""
    holder = next(run for run in connection.runs(KEY, run_key(row)) if run.info.status == "FINISHED")
    models = [output.model_id for output in holder.outputs.model_outputs] if holder.outputs else []
    if not models:
        return f"the winner, {row.title}, has no exported graph to register; `{to_type('repro')}` exports it"
    measured = {name: point_row(point).best(name) for name in COMPARED}
    measured |= {name: value for name, value in point.deployed.items() if not isinstance(value, dict)}
    tags = {name: _text(value) for name, value in measured.items() if value is not None}
    tags |= {"percent": str(point.percent), "backend": row.backend, "sweep": runs.parent}
    tags |= lineage_tags(runs.hashes, point.percent)
    found = promote(
        connection.client,
        name,
        holder.info.run_id,
        models[0],
        sha256_file(row.model),
        f"{row.title}: {sweep.why}",
        tags,
        lambda new, champion: better(new, champion, sweep),
    )
    return found.said


def with_overrides(params: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """params.yaml as a variant has it: `prune.scope` names a key of a section."""
    changed = deepcopy(dict(params))
    for name, value in overrides.items():
        section, _, key = name.rpartition(".")
        (changed[section] if section else changed)[key] = value
    return changed


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
