"""The models as points: what each costs, how good it is, and which of them nothing beats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from yoloslim.config.results import SweepPoint, SweepResult
from yoloslim.results.records import COST, QUALITY, SPEED, Metrics, Row, is_number
from yoloslim.results.sweep_file import point_metrics, point_title
from yoloslim.sweeping.pareto import pareto_front

COSTS = {"latency_ms": "latency, ms", "params_m": "parameters, million", "size_mb": "size on disk, MB"}
"""What mAP is drawn against, and its axis."""
NUMBERS = (*QUALITY, *COST, *SPEED, "size_mb", "speedup")
"""Metrics that a point is told by."""
STATES = {
    "dense": "baseline",
    "control": "dense, trained on",
    "finetuned": "finetuned",
    "int8": "int8",
    "probed": "only cut",
}


@dataclass(frozen=True)
class Point:
    """One model that can be compared with others.

    Attributes:
        name: unique on the page; `baseline`, `prune@50`, `prune@50 int8 openvino`, `sweep/55`.
        title: how people call it.
        state: one of `STATES`.
        percent: share of the channels asked to go, %.
        values: metrics by name, those of the deployed model where it has been deployed.
        backend: what its latency was measured on.
        row: what the stages wrote about it; None for a point that only a sweep knows.
        notes: what else is to be said of it, in sentences.
    """

    name: str
    title: str
    state: str
    percent: int
    values: dict[str, float]
    backend: str
    row: Row | None = None
    notes: tuple[str, ...] = ()

    @property
    def spread(self) -> tuple[float, ...]:
        """Mean mAP50 over seeds less and plus its standard deviation; empty where it was trained with one."""
        trained = self.row.trained if self.row else {}
        mean, deviation = trained.get("map50_mean"), trained.get("map50_std")
        return (mean - deviation, mean + deviation) if is_number(mean) and is_number(deviation) else ()


def points_of(rows: Sequence[Row], sweep: SweepResult | None = None) -> list[Point]:
    """The dense models, every pruned one and their int8 versions, and what else a sweep tried.

    Those without mAP are left out. What the stages wrote counts before what a sweep says of the same percent.
    """
    tried = {point.percent: point for point in (sweep.points if sweep else ()) if not point.overrides}
    found = []
    for row in rows:
        if row.kind in ("baseline", "control", "pruned"):
            notes = _notes(tried.pop(row.percent)) if row.kind == "pruned" and row.percent in tried else ()
            found += [replace(_point(each), notes=notes) for each in row.with_int8()]
    others = [point for point in (sweep.points if sweep else ()) if point.overrides or point.percent in tried]
    return [point for point in (*found, *map(_sweep_point, others)) if "map50" in point.values]


def name_of(point: SweepPoint) -> str:
    """The name on the page of a point that has no row."""
    return f"sweep/{point.name}"


def _sweep_point(point: SweepPoint) -> Point:
    metrics = point_metrics(point)
    values = {key: float(value) for key, value in metrics.items() if key in NUMBERS and is_number(value)}
    state = "finetuned" if point.deployed or point.after else "probed"
    return Point(
        name_of(point),
        point_title(point),
        state,
        point.percent,
        values,
        str(metrics.get("backend", "")),
        None,
        _notes(point),
    )


def _notes(point: SweepPoint) -> tuple[str, ...]:
    """What the sweep says of a point."""
    found = [f"Why it was tried: {point.why}."] if point.why else []
    found += [f"It {' and '.join(point.missed)}."] if point.missed else []
    return (*found, f"It broke off: {point.error}") if point.error else tuple(found)


def _point(row: Row) -> Point:
    found: Metrics = {name: row.best(name) for name in (*QUALITY, *COST, "size_mb")}
    state = "int8" if " int8 " in row.name else {"baseline": "dense", "control": "control"}.get(row.kind, "finetuned")
    timed = row.deployed or row.trained  # times are those of the backend, or none
    if state == "finetuned" and not timed:
        state, timed = "probed", row.pruned
        found |= {name: row.pruned.get(name) for name in QUALITY}
    found |= {name: timed.get(name) for name in (*SPEED, "speedup")}
    values = {name: float(value) for name, value in found.items() if is_number(value)}
    return Point(row.name, row.title, state, row.percent, values, str(timed.get("backend", "")), row)


def comparable(points: Sequence[Point], cost: str) -> list[Point]:
    """Those that have this cost; latencies only of one backend, the dense model's or else the first's."""
    known = [point for point in points if cost in point.values]
    if cost != "latency_ms" or not known:
        return known
    backend = next((point.backend for point in known if point.state == "dense"), known[0].backend)
    return [point for point in known if point.backend == backend]


def front(points: Sequence[Point], cost: str) -> list[Point]:
    """The Pareto front from cheap to dear: nothing costs as little and finds as much."""
    by_name = {point.name: point for point in points}
    return [by_name[name] for name in pareto_front({p.name: (p.values[cost], -p.values["map50"]) for p in points})]
