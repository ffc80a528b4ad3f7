"""What a sweep found: its points, its winner and its constraints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yoloslim.config.results import SweepPoint, SweepResult
from yoloslim.config.sweep import Constraints
from yoloslim.errors import TrackingError
from yoloslim.files import read_json
from yoloslim.results.records import is_number

SWEEP = Path("metrics") / "sweep.json"
FAILED_LOGS = Path(".cache") / "sweep" / "failed"
"""Below the project: what the stages of points that failed printed, wherever they ran."""


def failed_log(root: Path, point: str) -> Path:
    """The log of a point that failed; there may be none."""
    return root / FAILED_LOGS / f"{point.replace('/', '-')}.log"


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
