"""What the page says about one model when its point is clicked."""

from collections.abc import Sequence
from dataclasses import dataclass

from yoloslim.evaluation.other_work import disturbed, while_others
from yoloslim.report.page.points import STATES, Point
from yoloslim.report.page.provenance import outputs_of
from yoloslim.report.tables import DISTURBED, marked
from yoloslim.results.lineage import StageOutput
from yoloslim.results.links import RunLinks

MEASURES = {
    "map50": ("mAP50", 3, ""),
    "map50_95": ("mAP50-95", 3, ""),
    "map50_voc07": ("mAP50 by VOC07 rules", 3, ""),
    "precision": ("precision", 3, ""),
    "recall": ("recall", 3, ""),
    "params_m": ("parameters", 3, " M"),
    "gflops": ("GFLOPs an image", 3, ""),
    "size_mb": ("size on disk", 2, " MB"),
    "latency_ms": ("latency, median", 2, " ms"),
    "latency_p90_ms": ("latency, 90th percentile", 2, " ms"),
    "fps": ("images a second", 0, ""),
    "speedup": ("speed against the baseline, timed in turn", 2, " x"),
}
"""Metric -> what it is called, digits and unit."""
TIMES = ("latency_ms", "latency_p90_ms", "fps")


@dataclass(frozen=True)
class Detail:
    """One model in numbers.

    Attributes:
        name: of the point.
        title: how people call it.
        state: how far it came, in words.
        lines: what, the model's value, the dense model's.
        notes: sentences.
        run: link to its run in MLflow; empty if it has none.
        outputs: what DVC keeps of it.
    """

    name: str
    title: str
    state: str
    lines: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    run: str
    outputs: tuple[StageOutput, ...]


def details(points: Sequence[Point], links: RunLinks, lock: Sequence[StageOutput]) -> list[Detail]:
    """One for each point; its times stand beside the dense model's only where both ran on one backend."""
    dense = next((point for point in points if point.state == "dense"), None)
    return [_detail(point, dense, links, lock) for point in points]


def _detail(point: Point, dense: Point | None, links: RunLinks, lock: Sequence[StageOutput]) -> Detail:
    lines = []
    for key, (name, _, _) in MEASURES.items():
        beside = dense if dense and not (key in TIMES and dense.backend != point.backend) else None
        if key in point.values:
            lines.append((name, measure(point, key), measure(beside, key) if beside else ""))
    notes = [f"Measured with {point.backend}."] if point.backend else []
    others = point.values.get("latency_other_cores")
    if others is not None and disturbed(others):
        notes.append(
            f"{DISTURBED} Its latency was taken while {while_others(others)}; its speed-up was taken in turn with the "
            "dense model, which evens out some of it."
        )
    row = point.row
    if row and row.pruned.get("certificate_max_diff") is not None:
        notes.append(f"The cut changes no raw output by more than {row.pruned['certificate_max_diff']:.1e}.")
    if row and row.compiled == "not_available":
        notes.append("Not compiled for Ascend: ATC is not installed here.")
    own = tuple(outputs_of(row, lock)) if row else ()
    run = links.of(row) if row else ""
    return Detail(point.name, point.title, STATES[point.state], tuple(lines), (*notes, *point.notes), run, own)


def measure(point: Point, key: str) -> str:
    """A metric as text with its unit, times and speed-ups marked where they are uncertain; empty if it is not known."""
    _, digits, unit = MEASURES[key]
    if key not in point.values:
        return ""
    text = f"{point.values[key]:.{digits}f}{unit}"
    return marked(text, point.values.get("latency_other_cores")) if key in (*TIMES, "speedup") else text
