"""What a sweep found, as the report tells it: its points, its winner and its constraints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yoloslim.config.results import SweepPoint, SweepResult
from yoloslim.config.sweep import Constraints
from yoloslim.errors import TrackingError
from yoloslim.files import read_json
from yoloslim.tracking.records import Row, is_number
from yoloslim.tracking.tables import Grid, recommended, share

SWEEP = Path("metrics") / "sweep.json"
BOUNDS = {
    "max_map_drop": "at most {:g} mAP50 lost",
    "max_params_m": "at most {:g} M parameters",
    "max_latency_ms": "at most {:g} ms",
    "min_fps": "at least {:g} images/s",
    "max_size_mb": "at most {:g} MB",
}
"""Constraints in words."""


def read_sweep(root: Path, params: Mapping[str, Any]) -> SweepResult | None:
    """metrics/sweep.json, its overrides against `params`; None where no sweep has ended.

    Raises:
        TrackingError: the file is not what a sweep writes.
    """
    sweep = load_sweep(root)
    return seen_from(sweep, params) if sweep else None


def load_sweep(root: Path) -> SweepResult | None:
    """metrics/sweep.json as it is; None where no sweep has ended.

    Raises:
        TrackingError: the file is not what a sweep writes.
    """
    path = root / SWEEP
    if not path.is_file():
        return None
    try:
        return SweepResult.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise TrackingError(
            f"{path} is not what a sweep writes ({place}: {problem['msg']}); run the sweep again"
        ) from error


def seen_from(sweep: SweepResult, params: Mapping[str, Any]) -> SweepResult:
    """The sweep with overrides against params.yaml as it is now: a variant may have been applied since.

    Args:
        sweep: what it found; its overrides are against params.yaml as it was then.
        params: params.yaml as a nested dictionary.
    """
    keys = {key: _value(params, key) for point in sweep.points for key in point.overrides}
    applied = {k: v for k, v in keys.items() if any(point.overrides.get(k) == v for point in sweep.points)}

    def moved(point: SweepPoint) -> SweepPoint:
        before = dict.fromkeys(applied.keys() - point.overrides.keys(), "as before")
        kept = {k: v for k, v in point.overrides.items() if k not in applied or v != applied[k]}
        return point.model_copy(update={"overrides": before | kept})

    return sweep.model_copy(update={"points": tuple(moved(point) for point in sweep.points)})


def _value(params: Any, key: str) -> Any:
    for part in key.split("."):
        params = params.get(part) if isinstance(params, Mapping) else None
    return params


def chosen_point(sweep: SweepResult) -> SweepPoint | None:
    """The winner, or the point that comes closest where none satisfies the constraints."""
    name = sweep.winner or sweep.closest
    return next((point for point in sweep.points if point.name == name), None)


def best_row(rows: Sequence[Row], sweep: SweepResult | None) -> Row | None:
    """The model to look at: what the sweep chose, or, without a sweep, the recommended one.

    None also where the sweep chose a variant, whose files lie elsewhere.
    """
    return _row_of(chosen_point(sweep), rows) if sweep else recommended(rows)


def _row_of(point: SweepPoint | None, rows: Sequence[Row]) -> Row | None:
    """The row that holds a point's files; None for a variant, whose files lie elsewhere, and where there are none."""
    if point is None or point.overrides:
        return None
    return next((row for row in rows if row.kind == "pruned" and row.percent == point.percent), None)


def point_title(point: SweepPoint) -> str:
    """How people call a point."""
    changed = ", ".join(f"{key} {value}" for key, value in point.overrides.items())
    return f"{point.percent} % pruned" + (f" ({changed})" if changed else "")


def point_metrics(point: SweepPoint) -> dict[str, Any]:
    """Its metrics on the runtime; before it got there in PyTorch, finetuned or only cut."""
    cost = {key: value for key, value in point.before.items() if key in ("params_m", "gflops", "size_mb")}
    return {**cost, **(point.deployed or point.after or point.before)}


def limits(sweep: SweepResult) -> dict[str, float]:
    """Metric -> what a model may cost at most, and `map50` -> what it must find at least."""
    asked: Constraints = sweep.constraints
    latencies = [asked.max_latency_ms, 1000 / asked.min_fps if asked.min_fps else None]
    floor = None
    if asked.max_map_drop is not None and is_number(sweep.baseline.get("map50")):
        floor = sweep.baseline["map50"] - asked.max_map_drop
    found = {
        "map50": floor,
        "params_m": asked.max_params_m,
        "size_mb": asked.max_size_mb,
        "latency_ms": min((value for value in latencies if value is not None), default=None),
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def asked_for(sweep: SweepResult) -> str:
    """Objective and constraints in words."""
    wanted = {"fastest": "the fastest model", "smallest": "the smallest model", "accurate": "the most accurate model"}
    asked = sweep.constraints.model_dump()
    bounds = [text.format(asked[name]) for name, text in BOUNDS.items() if asked[name] is not None]
    return wanted[sweep.objective] + (f" with {', '.join(bounds)}" if bounds else ", whatever it costs")


def effort(sweep: SweepResult) -> str:
    """How much it took."""
    return (
        f"{sweep.probes} points were cut and measured, {sweep.finetunings} finetuned, where trying every percent would "
        f"finetune {sweep.grid_finetunings}; it took {sweep.seconds / 60:.1f} minutes."
    )


def sweep_grid(sweep: SweepResult) -> Grid:
    """One line a point: how far it came, why it was tried, what it misses."""
    chosen = chosen_point(sweep)
    lines = []
    for point in sweep.points:
        mark = "winner" if chosen is point and sweep.winner else "closest" if chosen is point else ""
        state = "finetuned" if point.deployed or point.after else point.status
        lines.append(
            (
                *(point_title(point), mark or ("failed" if point.error else state)),
                *(share(_number(point.before)), share(_number(point.after)), share(_number(point.deployed))),
                *(point.why, point.error or "; ".join(point.missed)),
            )
        )
    header = ("point", "state", "cut", "finetuned", "deployed", "why it was tried", "what it misses")
    return Grid(header, tuple(lines), frozenset({0, 1, 5, 6}))


def _number(metrics: dict[str, Any]) -> float | None:
    value = metrics.get("map50")
    return float(value) if is_number(value) else None
