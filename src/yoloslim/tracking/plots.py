"""The pictures of the report: what pruning costs, what it saves, and how training got there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yoloslim.tracking.records import Epoch, Row
from yoloslim.tracking.style import BLUE, FAINT, GREEN, INK, ORANGE, PALE, RED, percent_ticks, picture, shades

NEAR_ZERO = 1e-2
"""A scale below this counts as near zero, as in `training.sparsity`."""


def comparison(rows: Sequence[Row], path: Path) -> None:
    """Accuracy, size and speed against percent; the dense baseline stands at 0."""
    points = [row for row in rows if row.kind != "sparse"]
    percents = sorted({row.percent for row in points})
    with picture(path, 11, 3.9) as figure:
        accuracy, size, speed = figure.subplots(1, 3)
        for axes in (accuracy, size, speed):
            percent_ticks(axes, percents)
        _accuracy(accuracy, points)
        _line(size, points, [row.number("params_m") for row in points], "parameters, million", GREEN)
        size.set_ylim(bottom=0)
        size.set_title("Parameters, million")
        _speed(speed, points)
        speed.set_ylim(bottom=0)


def curves(rows: Sequence[Row], path: Path) -> None:
    """Loss and val mAP along the epochs; the finetunings of all percents start where sparse training ends."""
    trained = [row for row in rows if row.epochs]
    starts = _starts(trained)
    with picture(path, 11, 4.1) as figure:
        loss, quality = figure.subplots(1, 2)
        for row, colour in zip(trained, _row_colours(trained), strict=True):
            _curve(loss, row, "loss", starts[row.name], color=colour, label=row.title)
            _curve(quality, row, "map50", starts[row.name], color=colour, label=row.title)
            _curve(quality, row, "map50_95", starts[row.name], color=colour, linestyle=":")
        for axes, title in ((loss, "Training loss"), (quality, "Validation mAP50 (solid), mAP50-95 (dotted)")):
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.set_ylim(bottom=0)
        if trained:
            loss.legend()


def gammas(arrays: Path, path: Path) -> None:
    """BatchNorm scales before and after sparse training, and on the way.

    Args:
        arrays: gammas.npz as the stage `sparse` writes it: `before` (N,), `gammas` (epochs, N), `epochs`.
        path: of the PNG.
    """
    with np.load(arrays) as stored:
        before, steps, epochs = stored["before"], stored["gammas"].astype(np.float32), stored["epochs"]
    before, steps = np.abs(before.astype(np.float32)), np.abs(steps)
    top = float(np.quantile(np.concatenate([before, steps[-1]]), 0.995)) or 1.0
    with picture(path, 11, 4.1) as figure:
        histogram, heat = figure.subplots(1, 2, width_ratios=(1, 1.1))
        bins = np.linspace(0, top, 50)
        for values, colour, name in ((before, FAINT, "before"), (steps[-1], BLUE, "after")):
            share = 100 * float((values < NEAR_ZERO).mean())
            label = f"{name}: {share:.0f} % below {NEAR_ZERO:g}"
            weights = np.full(len(values), 100 / len(values))
            histogram.hist(np.minimum(values, top), bins, weights=weights, color=colour, alpha=0.65, label=label)
        histogram.set(xlabel="|gamma|", ylabel="share of channels, %", yscale="log")
        histogram.set_title("Scales before and after sparse training")
        histogram.legend()
        _heat(figure, heat, steps, epochs, bins)


def channels(rows: Sequence[Row], path: Path) -> None:
    """Channels of every layer, before (grey) and after the cut, one strip a percent."""
    cut = [row for row in rows if row.report.get("layers")]
    if not cut:
        return
    with picture(path, 11, 1.0 + 1.55 * len(cut)) as figure:
        strips = figure.subplots(len(cut), 1, sharex=True, squeeze=False)[:, 0]
        for axes, row, colour in zip(strips, cut, shades(len(cut)), strict=True):
            layers = [layer for layer in row.report["layers"] if layer["kind"] == "batchnorm"]
            x = np.arange(len(layers))
            total, kept = [item["total"] for item in layers], [item["kept"] for item in layers]
            axes.bar(x, total, width=0.8, color=PALE)
            axes.bar(x, kept, width=0.8, color=colour)
            share = 100 * sum(kept) / max(sum(total), 1)
            axes.set_title(f"{row.title}: {sum(kept)} of {sum(total)} channels left ({share:.0f} %)", fontsize=11)
            axes.set_ylabel("channels")
            axes.grid(axis="x", visible=False)
            axes.margins(x=0.01)
        names = [layer["path"].removeprefix("model.").removesuffix(".bn") for layer in layers]
        strips[-1].set_xticks(x, names, rotation=90, fontsize=8)
        strips[-1].set_xlabel("layer")


def _accuracy(axes: Any, points: Sequence[Row]) -> None:
    for key, colour, name in (("map50", BLUE, "mAP50"), ("map50_95", ORANGE, "mAP50-95")):
        deployed = [row.deployed.get(key) for row in points]
        _line(axes, points, [row.number(key) for row in points], f"{name}, PyTorch", colour, hollow=True)
        _line(axes, points, deployed, f"{name}, deployed", colour)
    cut = [row.pruned.get("map50_recalibrated", row.pruned.get("map50")) for row in points]
    _line(axes, points, cut, "mAP50, not finetuned", RED, linestyle=":", marker="x")
    axes.set_ylim(0, 1)
    axes.set_title("Accuracy on the test images")
    axes.legend(fontsize=8.5, loc="lower left")


def _speed(axes: Any, points: Sequence[Row]) -> None:
    deployed = [row.deployed.get("fps") for row in points]
    shown = deployed if any(deployed) else [row.trained.get("fps") for row in points]
    backends = {row.backend for row in points if row.backend}
    _line(axes, points, shown, "", INK)
    axes.set_title(f"Images/s on {', '.join(sorted(backends)) or 'no runtime yet'}")


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


def _starts(rows: Sequence[Row]) -> dict[str, int]:
    """The epoch that each row's axis begins after, when baseline, sparse and finetune stand in a line."""
    lengths = {row.name: int(row.epochs[-1]["epoch"]) for row in rows}
    if len(rows) == 1:
        return dict.fromkeys(lengths, 0)
    before = {"baseline": 0, "sparse": lengths.get("baseline", 0)}
    before["pruned"] = before["sparse"] + lengths.get("sparse", 0)
    return {row.name: before[row.kind] for row in rows}


def _row_colours(rows: Sequence[Row]) -> list[Any]:
    percents = iter(shades(sum(row.kind == "pruned" for row in rows)))
    fixed = {"baseline": INK, "sparse": RED}
    return [fixed.get(row.kind) or next(percents) for row in rows]


def _curve(axes: Any, row: Row, column: str, start: int, **style: Any) -> None:
    known: list[Epoch] = [epoch for epoch in row.epochs if column in epoch]
    axes.plot([start + epoch["epoch"] for epoch in known], [epoch[column] for epoch in known], **style)


def _heat(figure: Any, axes: Any, steps: Any, epochs: Any, bins: Any) -> None:
    counts = np.stack([np.histogram(np.minimum(step, bins[-1]), bins)[0] / len(step) for step in steps], axis=1)
    edges = np.append(epochs, epochs[-1] + 1) - 0.5
    mesh = axes.pcolormesh(edges, bins, np.sqrt(100 * counts), cmap="viridis", rasterized=True)
    for quantile, style in ((0.25, ":"), (0.5, "-"), (0.75, ":")):
        axes.plot(epochs, np.quantile(steps, quantile, axis=1), color="white", linestyle=style, linewidth=1.5)
    axes.set(xlabel="epoch of sparse training", ylabel="|gamma|", ylim=(0, bins[-1]))
    axes.grid(visible=False)
    axes.set_title("Scales over epochs (white: quartiles)")
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    ticks = [t for t in (0, 1, 5, 20, 50, 100) if t <= 100 * counts.max()]
    bar.set_ticks([t**0.5 for t in ticks], labels=[f"{t} %" for t in ticks])
    bar.outline.set_visible(False)
