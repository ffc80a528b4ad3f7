"""The pictures of the report: what pruning costs, what it saves, and how training got there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yoloslim.pruning.forecast import NEAR_ZERO
from yoloslim.report.style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PALE,
    PURPLE,
    RED,
    Panel,
    percent_ticks,
    picture,
    row_colours,
    shades,
    whole_numbers,
)
from yoloslim.report.tables import marked, number
from yoloslim.results.choice import control_of
from yoloslim.results.records import Epoch, Row


def comparison(rows: Sequence[Row]) -> list[Panel]:
    """Accuracy, size and speed against percent; the dense baseline stands at 0, the control is a line."""
    dense = control_of(rows)
    points = [row for row in rows if row.kind in ("baseline", "pruned")]

    def size(axes: Any) -> None:
        known = [row.number("params_m") for row in points]
        _falling_or_rising(axes, points, known, [number(value, 2) for value in known], GREEN)
        axes.set_title("Parameters, million")

    def speed(axes: Any) -> None:
        backends = {str(row.deployed.get("backend", "")) for row in points} - {""}
        known = [row.deployed.get("speedup") for row in points]
        texts = [marked(number(value, 2), row.disturbed) for row, value in zip(points, known, strict=True)]
        _falling_or_rising(axes, points, known, texts, PURPLE)
        axes.set_title(f"Speed-up on {', '.join(sorted(backends)) or 'no runtime yet'}")

    return [lambda axes: _accuracy(axes, points, dense.number("map50") if dense else None), size, speed]


def curves(rows: Sequence[Row]) -> list[Panel]:
    """Loss and val mAP along the epochs; the finetunings of all percents start where sparse training ends."""
    trained = [row for row in rows if row.epochs]
    first, colours = starts(trained), row_colours(trained)

    def panel(columns: dict[str, str], title: str, corner: str) -> Panel:
        def draw(axes: Any) -> None:
            for row, colour in zip(trained, colours, strict=True):
                for column, linestyle in columns.items():
                    label = row.title if linestyle == "-" else None
                    _curve(axes, row, column, first[row.name], color=colour, linestyle=linestyle, label=label)
            axes.set(xlabel="epoch", title=title)
            axes.set_ylim(bottom=0)
            whole_numbers(axes)
            axes.legend(fontsize=9.5, loc=corner)

        return draw

    quality = panel(
        {"map50": "-", "map50_95": ":"},
        "Validation mAP50, dotted mAP50-95",
        "lower right" if len(trained) == 1 else "lower center",
    )
    return [panel({"loss": "-"}, "Training loss", "upper right"), quality]


def gammas(arrays: Path) -> list[Panel]:
    """BatchNorm scales before and after sparse training, and on the way.

    Args:
        arrays: gammas.npz as the stage `sparse` writes it: `before` (N,), `gammas` (epochs, N), `epochs`.
    """
    with np.load(arrays) as stored:
        before, steps, epochs = stored["before"], stored["gammas"].astype(np.float32), stored["epochs"]
    before, steps = np.abs(before.astype(np.float32)), np.abs(steps)
    top = float(np.quantile(np.concatenate([before, steps[-1]]), 0.995)) or 1.0
    bins = np.linspace(0, top, 51)

    def histogram(axes: Any) -> None:
        for values, colour, name in ((before, FAINT, "before"), (steps[-1], BLUE, "after")):
            share = 100 * float((values < NEAR_ZERO).mean())
            label = f"{name}: {share:.0f} % below {NEAR_ZERO:g}"
            weights = np.full(len(values), 100 / len(values))
            axes.hist(np.minimum(values, top), bins, weights=weights, color=colour, alpha=0.65, label=label)
        axes.set(xlabel="|gamma|", ylabel="share of channels, %", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_title("Scales before and after sparse training")
        axes.legend(fontsize=9.5)

    return [histogram, lambda axes: _heat(axes, steps, epochs, bins)]


def channels(rows: Sequence[Row], path: Path, dpi: int | None = None) -> None:
    """Channels of every layer, before (grey) and after the cut, one strip a percent."""
    cut = [row for row in rows if row.report.get("layers")]
    if not cut:
        return
    with picture(path, 11, 1.0 + 1.55 * len(cut), dpi) as figure:
        strips = figure.subplots(len(cut), 1, sharex=True, squeeze=False)[:, 0]
        for axes, row, colour in zip(strips, cut, shades(len(cut)), strict=True):
            layers = [layer for layer in row.report["layers"] if layer["kind"] == "batchnorm"]
            x = np.arange(len(layers))
            total, kept = [item["total"] for item in layers], [item["kept"] for item in layers]
            _bars(axes, total, PALE)
            _bars(axes, kept, colour)
            share = 100 * sum(kept) / max(sum(total), 1)
            axes.set_title(f"{row.title}: {sum(kept)} of {sum(total)} channels left ({share:.0f} %)", fontsize=11)
            axes.set_ylabel("channels")
            axes.grid(axis="x", visible=False)
            axes.margins(x=0.01)
        names = [layer["path"].removeprefix("model.").removesuffix(".bn") for layer in layers]
        strips[-1].set_xticks(x, names, rotation=90, fontsize=8)
        strips[-1].set_xlabel("layer")


def _bars(axes: Any, values: Sequence[float], colour: Any) -> None:
    """One bar each, all in one shape: Matplotlib takes ten times as long for bars of their own."""
    edges = np.arange(len(values))[:, None] + [-0.4, 0.4]
    heights = np.stack([values, np.zeros(len(values))], 1)
    axes.stairs(heights.ravel()[:-1], edges.ravel(), color=colour, fill=True)


def _accuracy(axes: Any, points: Sequence[Row], control: float | None) -> None:
    cut = [row.pruned.get("map50_recalibrated", row.pruned.get("map50")) for row in points]
    for key, colour, name in (("map50", BLUE, "mAP50"), ("map50_95", ORANGE, "mAP50-95")):
        deployed = [row.deployed.get(key) for row in points]
        _line(axes, points, [row.number(key) for row in points], f"{name}, PyTorch", colour, hollow=True)
        _line(axes, points, deployed, f"{name}, deployed", colour)
        if key == "map50":
            _line(axes, points, cut, "mAP50, not finetuned", RED, linestyle=":", marker="x")
    if control is not None:
        axes.axhline(control, color=FAINT, linestyle="-.", label="mAP50, dense, trained on")
    axes.set_ylim(0, 1)
    axes.set_title("Accuracy on the test images")
    _percent_axis(axes, points)
    axes.legend(fontsize=8.5, loc="upper center", bbox_to_anchor=(0.45, -0.17), ncols=2, columnspacing=1)


def _falling_or_rising(
    axes: Any, points: Sequence[Row], values: Sequence[float | None], texts: Sequence[str], colour: str
) -> None:
    _line(axes, points, values, "", colour)
    for row, value, text in zip(points, values, texts, strict=True):
        if value is not None:
            place = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
            axes.annotate(text, (row.percent, value), fontsize=9.5, **place)
    axes.set_ylim(0, 1.12 * max((v for v in values if v is not None), default=1.0))
    _percent_axis(axes, points)


def _percent_axis(axes: Any, points: Sequence[Row]) -> None:
    percents = sorted({row.percent for row in points})
    percent_ticks(axes, percents)
    axes.set_xlim(percents[0] - 4, percents[-1] + 4)


def _line(
    axes: Any,
    points: Sequence[Row],
    values: Sequence[float | None],
    label: str,
    colour: str,
    *,
    hollow: bool = False,
    linestyle: str = "-",
    marker: str = "o",
) -> None:
    known = sorted((row.percent, value) for row, value in zip(points, values, strict=True) if value is not None)
    if not known:
        return
    x, y = zip(*known, strict=True)
    style = {"markerfacecolor": "white", "linestyle": "--", "markersize": 10} if hollow else {"linestyle": linestyle}
    axes.plot(x, y, color=colour, marker=marker, label=label, **style)


def starts(rows: Sequence[Row]) -> dict[str, int]:
    """The epoch that each row's axis begins after, baseline, sparse and finetune in a line, the control beside them."""
    lengths = {row.name: int(row.epochs[-1]["epoch"]) for row in rows}
    if len(rows) == 1:
        return dict.fromkeys(lengths, 0)
    before = {"baseline": 0, "sparse": lengths.get("baseline", 0), "control": lengths.get("baseline", 0)}
    before["pruned"] = before["sparse"] + lengths.get("sparse", 0)
    return {row.name: before[row.kind] for row in rows}


def _curve(axes: Any, row: Row, column: str, start: int, **style: Any) -> None:
    known: list[Epoch] = [epoch for epoch in row.epochs if column in epoch]
    axes.plot([start + epoch["epoch"] for epoch in known], [epoch[column] for epoch in known], **style)


def _heat(axes: Any, steps: Any, epochs: Any, bins: Any) -> None:
    counts = np.stack([np.histogram(np.minimum(step, bins[-1]), bins)[0] / len(step) for step in steps], axis=1)
    edges = np.append(epochs, epochs[-1] + 1) - 0.5
    mesh = axes.pcolormesh(edges, bins, np.sqrt(100 * counts), cmap="viridis", rasterized=True)
    for quantile, style in ((0.25, ":"), (0.5, "-"), (0.75, ":")):
        axes.plot(epochs, np.quantile(steps, quantile, axis=1), color="white", linestyle=style, linewidth=1.5)
    axes.set(xlabel="epoch of sparse training", ylabel="|gamma|", ylim=(0, bins[-1]))
    axes.grid(visible=False)
    whole_numbers(axes)
    axes.set_title("Scales over epochs (white: quartiles)")
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02)
    ticks = [t for t in (0, 1, 5, 20, 50, 100) if t <= 100 * counts.max()]
    bar.set_ticks([t**0.5 for t in ticks], labels=[f"{t} %" for t in ticks])
    bar.outline.set_visible(False)
