"""A sweep in words and as a table."""

from typing import Any

from yoloslim.config.results import SweepResult
from yoloslim.report.tables import Grid, share
from yoloslim.results.records import is_number
from yoloslim.results.sweep_file import chosen_point, point_title

BOUNDS = {
    "max_map_drop": "at most {:g} mAP50 lost",
    "max_params_m": "at most {:g} M parameters",
    "max_latency_ms": "at most {:g} ms",
    "min_fps": "at least {:g} images/s",
    "max_size_mb": "at most {:g} MB",
}
"""Constraints in words."""


STATES = {"probed": "cut", "pruned": "dropped"}
"""What people are told of a point that was not finetuned."""


def outcome(sweep: SweepResult) -> str:
    """The winner and why it won, or that there is none, in a sentence."""
    return f"Winner {sweep.winner} %: {sweep.why}." if sweep.winner else f"No winner: {sweep.why}."


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
        state = "finetuned" if point.deployed or point.after else STATES.get(point.status, point.status)
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
