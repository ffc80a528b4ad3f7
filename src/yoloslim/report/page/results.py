"""Charts of what the dense model and the winner find: precision against recall, and confusion matrices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.voc import VocSplit
from yoloslim.evaluation.confusion import confusion_matrix
from yoloslim.report.page.charts import (
    ACCENT,
    CARD,
    DENSE,
    FAINT,
    LINE,
    TUNED,
    Spec,
    chart,
    colours,
    number,
    rows,
    tip,
    word,
)
from yoloslim.results.judged import Judged

MEAN = "mean of all classes"
CLASSES = 80
"""Classes that may be chosen one by one; with more only the mean is there."""
CONFUSED = 40
"""Classes that a matrix has room for; with more it shows those with most mistakes."""
RECALLS = slice(None, None, 2)
"""Every second of the 101 recalls is enough for the eye."""


def precision_recall(judged: Sequence[Judged], classes: Sequence[str], winner: str) -> tuple[Spec, dict[str, Spec]]:
    """Precision against recall at IoU 0.5, and the same for each class.

    Args:
        judged: the models to compare.
        classes: names of all classes.
        winner: name of the row to draw in the winner's colour.

    Returns:
        The chart of the mean, and class name -> the parts that replace its own.
    """
    by_title = {j.row.title: ACCENT if j.row.name == winner else DENSE for j in judged}
    precision = judged[0].evaluation.curves.precision  # NaN where a class has no object, in every model's alike
    known = [name for name, curve in zip(classes, precision, strict=True) if not np.isnan(curve[0])]
    names = [MEAN, *(known if len(known) <= CLASSES else [])]
    place: Spec = {
        "x": number("x", "recall", scale={"domain": [0, 1]}, axis={"tickCount": 6}),
        "y": number(
            "y", "precision", scale={"domain": [0, 1.02], "nice": False}, axis={"values": [0, 0.2, 0.4, 0.6, 0.8, 1]}
        ),
    }
    colour = word("model", scale=colours(by_title), legend={"symbolType": "stroke", "labelExpr": "datum.label"})
    tooltip = tip(("model", "model"), ("ap", "AP50"), ("recall", "recall"), ("precision", "precision"))
    layers: list[Spec] = [
        {"mark": {"type": "line", "strokeWidth": 2.5, "aria": False}, "encoding": place | {"color": colour}},
        {
            "mark": {"type": "point", "size": 260, "filled": True, "opacity": 0, "aria": False},
            "encoding": place | {"detail": word("model"), "tooltip": tooltip},
        },
    ]
    data = {name: [point for j in judged for point in _pr_points(j, classes, name)] for name in names}
    return chart(layers, 300, data[MEAN]), {name: {"data": rows(points)} for name, points in data.items()}


def _pr_points(judged: Judged, classes: Sequence[str], name: str) -> list[dict[str, Any]]:
    curves = judged.evaluation.curves
    if name == MEAN:
        known = ~np.isnan(curves.precision[:, 0])
        y, ap = curves.precision[known].mean(axis=0), judged.evaluation.metrics["map50"]
    else:
        y, ap = curves.precision[classes.index(name)], judged.evaluation.per_class[name]["ap50"]
    shared = {"model": judged.row.title, "ap": f"{ap:.3f}"}
    points = zip(curves.recall[RECALLS].tolist(), y[RECALLS].tolist(), strict=True)
    return [
        {"x": round(r, 2), "y": round(p, 3), "recall": f"{r:.2f}", "precision": f"{p:.3f}", **shared} for r, p in points
    ]


def confusions(judged: Sequence[Judged], split: VocSplit) -> list[tuple[Judged, Spec]]:
    """A confusion matrix for each model at its own best confidence, all of the same classes.

    Colours and numbers are % of the objects of each true class; the last column, detections of nothing, is in % of
    all of these.
    """
    counts = [
        confusion_matrix(split.annotations, item.found, len(split.classes), item.evaluation.confidence)
        for item in judged
    ]
    shown = _most_confused(counts, len(split.classes))
    return [(item, _matrix(matrix, shown, split.classes)) for item, matrix in zip(judged, counts, strict=True)]


def _most_confused(counts: Sequence[NDArray[np.int64]], classes: int) -> list[int]:
    """Indices of the classes to show, in their order."""
    if classes <= CONFUSED:
        return list(range(classes))
    wrong = sum((matrix.sum(0) + matrix.sum(1) - 2 * np.diag(matrix))[:classes] for matrix in counts)
    return sorted(np.argsort(-np.asarray(wrong), kind="stable")[:CONFUSED].tolist())


def _matrix(counts: NDArray[np.int64], shown: Sequence[int], classes: Sequence[str]) -> Spec:
    end = [*shown, len(classes)]
    shares = 100 * counts / np.maximum(counts.sum(axis=0), 1)
    true, found = [*classes, "nothing there"], [*classes, "missed"]
    data = [
        {
            **{"true": true[j], "found": found[i]},
            **{"share": round(float(shares[i, j]), 1), "text": f"{shares[i, j]:.0f}", "count": str(counts[i, j])},
            "right": bool(i == j),
        }
        for i in end
        for j in end
        if counts[i, j]
    ]
    axis = {"labelFontSize": 11, "grid": False, "domain": False, "ticks": False, "labelOverlap": False}
    place: Spec = {
        "x": word(
            "true", "what it is", scale={"domain": [true[i] for i in end]}, axis=axis | {"labelAngle": -90}, sort=None
        ),
        "y": word("found", "what was found", scale={"domain": [found[i] for i in end]}, axis=axis, sort=None),
    }
    shade = number("share", scale={"domain": [0, 100], "range": [0.06, 1]}, legend=None)
    colour = {"condition": {"test": "datum.right", "value": TUNED}, "value": "var(--wrong)"}
    tooltip = tip(("true", "it is"), ("found", "found as"), ("text", "% of its objects"), ("count", "number"))
    layers: list[Spec] = [
        {
            "mark": {"type": "rect", "stroke": LINE, "strokeWidth": 0.5},
            "encoding": place | {"color": colour, "fillOpacity": shade, "tooltip": tooltip},
        },
        {
            "mark": {"type": "text", "fontSize": 10, "aria": False, "tooltip": None},
            "encoding": place
            | {
                "text": word("text"),
                "color": {"condition": {"test": "datum.share > 55", "value": CARD}, "value": FAINT},
            },
        },
    ]
    return chart(layers, 18 * len(end) + 110, data)
