"""The model to look at: what a sweep chose, else the one that is recommended."""

from collections.abc import Sequence

from yoloslim.config.results import SweepPoint, SweepResult
from yoloslim.results.records import Row, is_number
from yoloslim.results.sweep_file import chosen_point

MAX_DROP = 0.03
"""mAP50 that the recommended model may lose against the better of the dense models."""


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


def recommended(rows: Sequence[Row], max_drop: float = MAX_DROP) -> Row | None:
    """The smallest pruned model whose mAP50 is within `max_drop` of the dense one's, else the most accurate one.

    The dense one is the baseline, or the control where that is better. None without it or pruned models.
    """
    dense = dense_of(rows)
    trained = [row for row in rows if row.kind == "pruned" and row.best("map50") is not None]
    if dense is None or not trained:
        return None
    floor = (dense.best("map50") or 0.0) - max_drop
    good = [row for row in trained if (row.best("map50") or 0.0) >= floor]
    if good:
        return min(good, key=lambda row: row.best("params_m") or float("inf"))
    return max(trained, key=lambda row: row.best("map50") or 0.0)


def baseline_of(rows: Sequence[Row]) -> Row | None:
    """The dense model, if it is among the rows."""
    return next((row for row in rows if row.kind == "baseline"), None)


def control_of(rows: Sequence[Row]) -> Row | None:
    """The dense model that has trained as long as the pruned ones, if it is among the rows."""
    return next((row for row in rows if row.kind == "control"), None)


def dense_of(rows: Sequence[Row]) -> Row | None:
    """The dense model that pruned ones must be compared with: the better of baseline and control."""
    dense = [row for row in rows if row.kind in ("baseline", "control")]
    return max(dense, key=lambda row: row.best("map50") or 0.0, default=None)


def indistinct(row: Row, rows: Sequence[Row]) -> list[Row]:
    """The other models whose mean mAP50 over seeds is within one standard deviation, the larger one, of this one's.

    Empty where the model was trained once; others that were are passed over.
    """

    def known(each: Row) -> tuple[float, float] | None:
        mean, deviation = each.trained.get("map50_mean"), each.trained.get("map50_std")
        return (mean, deviation) if is_number(mean) and is_number(deviation) else None

    mine = known(row)
    if mine is None:
        return []
    others = [(each, found) for each in rows if each.name != row.name and (found := known(each))]
    return [each for each, (mean, deviation) in others if abs(mean - mine[0]) <= max(deviation, mine[1])]
