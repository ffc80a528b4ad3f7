"""The models as points: what each costs, how good it is, and which of them nothing beats."""

from collections.abc import Sequence
from dataclasses import dataclass

from yoloslim.sweeping.pareto import pareto_front
from yoloslim.tracking.records import COST, QUALITY, SPEED, Row

COSTS = {"latency_ms": "latency, ms", "params_m": "parameters, million", "size_mb": "size on disk, MB"}
"""What mAP is drawn against, and its axis."""
STATES = {
    "dense": "baseline",
    "finetuned": "finetuned",
    "int8": "int8",
    "probed": "cut, not finetuned",
}


@dataclass(frozen=True)
class Point:
    """One model that can be compared with others.

    Attributes:
        name: unique on the page; `baseline`, `prune@50`, `prune@50 int8 openvino`, `probe@55`.
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


def points_of(rows: Sequence[Row]) -> list[Point]:
    """The dense model, every pruned one and their int8 versions; those without mAP are left out."""
    found = []
    for row in rows:
        if row.kind in ("baseline", "pruned"):
            found += [_point(each) for each in row.with_int8()]
    return [point for point in found if "map50" in point.values]


def _point(row: Row) -> Point:
    names = (*QUALITY, *COST, *SPEED, "size_mb", "speedup")
    values = {name: value for name in names if (value := row.best(name)) is not None}
    state = "int8" if " int8 " in row.name else "dense" if row.kind == "baseline" else "finetuned"
    if state == "finetuned" and not (row.trained or row.deployed):  # cut and measured, no more
        state, cut = "probed", row.pruned
        values |= {name: float(cut[name]) for name in (*QUALITY, *SPEED) if isinstance(cut.get(name), int | float)}
    backend = row.backend or str(row.pruned.get("backend", ""))
    return Point(row.name, row.title, state, row.percent, values, backend, row)


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
