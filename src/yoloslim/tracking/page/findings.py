"""What the page tells, read once: rows, points, judged detections, and a sweep's result where there is one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from yoloslim.data.voc import VocSplit
from yoloslim.tracking.page.points import Point
from yoloslim.tracking.page.tradeoff import Cliff
from yoloslim.tracking.quality import Judged
from yoloslim.tracking.records import Row


@dataclass(frozen=True)
class Findings:
    """What there is to tell.

    Attributes:
        rows: the models that the stages made.
        best: the recommended one of them.
        points: models to compare, those that a sweep only probed included.
        judged: detections of the rows on the test images, judged.
        test: the test images; None where the data is not there.
        limits: metric -> bound that a user set.
        cliff: as a sweep found it; None leaves it to the rows.
        probed: percent -> mAP50 before finetuning, of points that a sweep only probed.
    """

    rows: Sequence[Row]
    best: Row | None
    points: Sequence[Point]
    judged: Sequence[Judged] = ()
    test: VocSplit | None = None
    limits: dict[str, float] = field(default_factory=dict)
    cliff: Cliff | None = None
    probed: dict[int, float] = field(default_factory=dict)

    @property
    def winner(self) -> str:
        """Name of the recommended row; empty if there is none."""
        return self.best.name if self.best else ""

    @property
    def dense(self) -> Row | None:
        """The model that all are compared with."""
        return next((row for row in self.rows if row.kind == "baseline"), None)

    @property
    def compared(self) -> list[Judged]:
        """The dense model and the winner, those of them whose detections are known."""
        names = ["baseline", self.winner]
        return sorted((j for j in self.judged if j.row.name in names), key=lambda j: names.index(j.row.name))
