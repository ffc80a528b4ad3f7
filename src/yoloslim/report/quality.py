"""What a model finds and misses: precision, recall and F1 against confidence, and which classes it confuses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from yoloslim.data.voc import VocSplit
from yoloslim.evaluation.confusion import confusion_matrix
from yoloslim.evaluation.evaluate import Evaluation
from yoloslim.report.style import FAINT, GREEN, INK, PALE, RED, Panel, picture, row_colours
from yoloslim.results.judged import Judged

Doubles = NDArray[np.float64]
NAMED = 40
"""With more classes the confusion matrix has no room for their names and numbers."""


def quality(judged: Sequence[Judged], classes: Sequence[str]) -> list[Panel]:
    """Four charts at IoU 0.5: precision against recall, and F1, precision and recall against confidence.

    One line a model, the mean over classes. Of a single model the classes are shown too, the best and the worst of
    them named.
    """
    colours = row_colours([item.row for item in judged])
    colours = colours if len(judged) > 1 else [INK]

    def panel(kind: str, title: str) -> Panel:
        def draw(axes: Any) -> None:
            for item, colour in zip(judged, colours, strict=True):
                x, curves = _curves(item.evaluation, kind)
                if len(judged) == 1:
                    _draw_classes(axes, x, curves, item.evaluation, classes)
                mean = np.nanmean(curves, axis=0) if len(curves) else np.zeros(len(x))
                axes.plot(x, mean, color=colour, label=_label(item, kind, mean, x, alone=len(judged) == 1))
            axes.set(xlim=(0, 1), ylim=(0, 1.02), title=title)
            axes.set_xlabel("recall" if kind == "pr" else "confidence")
            corner = {"f1": "lower center", "p": "lower right"}.get(kind, "lower left")
            axes.legend(fontsize=9, loc=corner).set_in_layout(False)  # inside the axes: nothing to make room for

        return draw

    titles = {"pr": "Precision against recall", "f1": "F1", "p": "Precision", "r": "Recall"}
    return [panel(kind, title) for kind, title in titles.items()]


def _curves(evaluation: Evaluation, kind: str) -> tuple[Doubles, Doubles]:
    """The x axis, and a curve for each class that has objects."""
    curves = evaluation.curves
    known = ~np.isnan(curves.precision[:, 0])
    precision, recall = curves.precision_at[known], curves.recall_at[known]
    if kind == "pr":
        return curves.recall, curves.precision[known]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return curves.confidence, {"f1": f1, "p": precision, "r": recall}[kind]


def _draw_classes(axes: Any, x: Doubles, curves: Doubles, evaluation: Evaluation, classes: Sequence[str]) -> None:
    names = [name for name in classes if name in evaluation.per_class]
    aps = [evaluation.per_class[name]["ap50"] for name in names]
    axes.add_collection(LineCollection([np.stack([x, curve], 1) for curve in curves], colors=PALE, linewidths=0.8))
    if len(names) > 1:
        for index, colour, word in ((int(np.argmax(aps)), GREEN, "best"), (int(np.argmin(aps)), RED, "worst")):
            axes.plot(x, curves[index], color=colour, linewidth=1.2, label=f"{word}: {names[index]}")


def _label(item: Judged, kind: str, mean: Doubles, x: Doubles, *, alone: bool) -> str:
    name = "mean of classes" if alone else item.row.title
    if kind == "pr":
        return f"{name}, mAP50 {item.evaluation.metrics['map50']:.3f}"
    if kind == "f1":
        return f"{name}, {mean.max():.2f} at {x[mean.argmax()]:.2f}"
    return name


def confusion(judged: Judged, split: VocSplit, path: Path, dpi: int | None = None) -> None:
    """Draw the confusion matrix at the confidence where F1 is best, in % of the objects of each true class.

    The last column, detections of nothing, is in % of all of these.
    """
    names, confidence = split.classes, judged.evaluation.confidence
    matrix = confusion_matrix(split.annotations, judged.found, len(names), confidence)
    totals = matrix.sum(axis=0)
    shares = 100 * matrix / np.maximum(totals, 1)
    named = len(names) <= NAMED
    side = float(np.clip(0.31 * (len(names) + 1) + 1.6, 4, 11))
    with picture(path, side + (0 if named else 0.9), side + 0.4, dpi) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.axhline(len(names) - 0.5, color=FAINT, linewidth=1)
        axes.axvline(len(names) - 0.5, color=FAINT, linewidth=1)
        axes.tick_params(length=0)
        if named:
            ticks = np.arange(len(names) + 1)
            axes.set_xticks(ticks, [*names, "nothing there"], rotation=90, fontsize=9)
            axes.set_yticks(ticks, [*names, "missed"], fontsize=9)
            _write_shares(axes, shares)
        else:
            bar = figure.colorbar(image, ax=axes, pad=0.02, shrink=0.7, format="{x:.0f} %")
            bar.outline.set_visible(False)
        axes.set(xlabel="what it is", ylabel="what was found")
        axes.set_title(
            f"{judged.row.title}: % of the objects of each class, at confidence {confidence:.2f}", fontsize=11
        )


def _write_shares(axes: Any, shares: Doubles) -> None:
    """Numbers on the cells, but for those that would be 0."""
    for (line, column), value in np.ndenumerate(shares):
        if value >= 0.5:
            colour = "white" if value > 55 else INK
            text = axes.text(column, line, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
            text.set_in_layout(False)  # inside the axes: measuring hundreds of them would take half of the time
