"""What the page tells, read once: rows, points, judged detections, and a sweep's result where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from yoloslim.config.results import SweepResult
from yoloslim.data.voc import VocSplit
from yoloslim.report.page.points import Point, name_of, points_of
from yoloslim.results.judged import Judged
from yoloslim.results.records import Row, is_number
from yoloslim.results.sweep_file import chosen_point, limits


@dataclass(frozen=True)
class PageContents:
    """What there is to tell.

    Attributes:
        rows: the models that the stages made.
        best: the model to look at; None if there is none, or if it is a variant whose files lie elsewhere.
        judged: detections of the rows on the test images, judged.
        test: the test images; None where the data is not there.
        sweep: what a sweep found; None without one.
        data: the report of the stage data; empty where it is not there.
    """

    rows: Sequence[Row]
    best: Row | None
    judged: Sequence[Judged] = ()
    test: VocSplit | None = None
    sweep: SweepResult | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def points(self) -> list[Point]:
        """Models to compare, what a sweep tried included."""
        return points_of(self.rows, self.sweep)

    @property
    def winner(self) -> str:
        """Name of the point to mark; empty if there is none."""
        chosen = chosen_point(self.sweep) if self.sweep else None
        return self.best.name if self.best else name_of(chosen) if chosen else ""

    @property
    def variant(self) -> str:
        """The sweep's name of the point to look at, where its files lie elsewhere; else empty."""
        chosen = chosen_point(self.sweep) if self.sweep else None
        return chosen.name if chosen and chosen.overrides else ""

    @property
    def limits(self) -> dict[str, float]:
        """Metric -> bound that a user set."""
        return limits(self.sweep) if self.sweep else {}

    @property
    def compared(self) -> list[Judged]:
        """The dense model and the winner, those of them whose detections are known."""
        names = ["baseline", self.winner]
        return sorted((j for j in self.judged if j.row.name in names), key=lambda j: names.index(j.row.name))

    def before_finetuning(self) -> dict[int, float]:
        """Percent -> mAP50 in PyTorch of the cut model; at 0 stands what is cut: the sparse model, or the baseline."""
        points = self.sweep.points if self.sweep else ()
        found = {p.percent: p.before.get("map50") for p in points if not p.overrides}
        for row in self.rows:
            if row.kind in ("baseline", "sparse"):  # in this order
                found[0] = row.number("map50")
            elif row.kind == "pruned" and row.pruned:
                found[row.percent] = row.pruned.get("map50_recalibrated", row.pruned.get("map50"))
        return {percent: float(value) for percent, value in found.items() if is_number(value)}

    def after_finetuning(self) -> dict[int, float]:
        """Percent -> mAP50 in PyTorch of the finetuned model."""
        points = self.sweep.points if self.sweep else ()
        found = {p.percent: p.after.get("map50") for p in points if not p.overrides}
        found |= {row.percent: row.number("map50") for row in self.rows if row.kind == "pruned" and row.trained}
        return {percent: float(value) for percent, value in found.items() if is_number(value)}
