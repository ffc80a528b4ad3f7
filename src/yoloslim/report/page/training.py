"""Charts of what happened while training: the scales of the channels, and the curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloslim.pruning.forecast import NEAR_ZERO
from yoloslim.report.page.charts import CARD, FAINT, Spec, chart, colours, number, tip, word
from yoloslim.report.plots import starts
from yoloslim.results.records import Row

RIDGES = 16
"""Most epochs that a ridge plot has room for."""
BINS = 120
RIDGE = "color-mix(in oklab, var(--tuned) 80%, var(--card))"
OVERLAP = 3.2
"""Height of the highest ridge, in distances between ridges."""


def ridges(arrays: Path) -> Spec | None:
    """Densities of |gamma| of all channels under the penalty, one ridge an epoch, the first on top.

    Args:
        arrays: gammas.npz as the stage `sparse` writes it: `before` (N,), `gammas` (epochs, N), `epochs`.

    Returns:
        None where no scale was written down.
    """
    with np.load(arrays) as stored:
        before, steps, epochs = stored["before"], stored["gammas"].astype(np.float32), stored["epochs"]
    if not len(steps) or not before.size:
        return None
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(RIDGES - 1, len(steps))).round().astype(int))
    ridge = [("before", np.abs(before)), *((f"epoch {epochs[i]}", np.abs(steps[i])) for i in chosen)]
    finite = np.concatenate([values[np.isfinite(values)] for _, values in ridge])
    if not finite.size:
        return None
    top = float(np.quantile(finite, 0.998)) or 1.0
    data: list[dict[str, Any]] = []
    for line, (name, values) in enumerate(ridge):
        data += _ridge(name, -line, values[np.isfinite(values)], top)
    return _ridge_chart(data, [name for name, _ in ridge], top)


def _ridge(name: str, base: int, values: NDArray[np.float32], top: float) -> list[dict[str, Any]]:
    edges = np.linspace(0, top, BINS + 1)
    counts = np.histogram(values, edges)[0] / max(len(values), 1)
    bell = np.exp(-0.5 * (np.arange(-6, 7) / 1.8) ** 2)
    smooth = np.convolve(np.pad(counts, 6, "edge"), bell / bell.sum(), "valid")
    height = OVERLAP * np.sqrt(smooth / max(float(smooth.max()), 1e-9))  # the root, or a spike at zero hides the rest
    said = {
        "epoch": name,
        "median": f"{np.median(values):.3f}" if len(values) else "–",
        "zero": f"{100 * float((values < NEAR_ZERO).mean()):.0f} %" if len(values) else "–",
    }
    centres = (edges[:-1] + edges[1:]) / 2
    points = zip(centres.tolist(), height.tolist(), strict=True)
    return [{"x": round(x, 4), "y": round(base + h, 3), "base": base, **said} for x, h in points]


def _ridge_chart(data: list[dict[str, Any]], names: Sequence[str], top: float) -> Spec:
    lines = [-i for i in range(len(names))]
    said = "[" + ", ".join(f"'{name}'" for name in names) + "][-datum.value]"
    axis = {
        "values": lines,
        "labelExpr": said,
        "grid": False,
        "title": None,
        "labelBaseline": "bottom",
        "tickCount": len(lines),
    }
    place: Spec = {
        "x": number("x", "|gamma|", scale={"domain": [0, top], "nice": False}),
        "y": number("y", scale={"domain": [lines[-1], OVERLAP], "nice": False}, axis=axis),
        "y2": {"field": "base"},
        "detail": {"field": "base", "sort": "descending"},
        "tooltip": tip(("epoch", "when"), ("median", "median |gamma|"), ("zero", f"below {NEAR_ZERO:g}")),
    }
    area = {
        "type": "area",
        "fill": RIDGE,
        "fillOpacity": 1,
        "interpolate": "monotone",
        "stroke": CARD,
        "strokeWidth": 1.2,
    }
    return chart([{"mark": area, "encoding": place}], 26 * len(names) + 60, data)


def curves(rows: Sequence[Row], column: str, title: str) -> Spec | None:
    """One column of all trainings along the epochs, in the order in which they ran; None where none has it.

    Args:
        rows: the models.
        column: of epochs.csv: `loss`, `map50` ...
        title: of the y axis.
    """
    trained = [row for row in rows if row.epochs]
    first = starts(trained)
    data = [
        {
            **{"x": first[row.name] + epoch["epoch"], "y": epoch[column], "model": row.title},
            **{"epoch": f"{epoch['epoch']:.0f}", "value": f"{epoch[column]:.4g}"},
        }
        for row in trained
        for epoch in row.epochs
        if column in epoch
    ]
    if not data:
        return None
    titles = list(dict.fromkeys(row.title for row in trained))
    shades = _shades([row for row in trained if row.kind == "pruned"])
    fixed = {"baseline": "var(--dense)", "control": "var(--int8)", "sparse": "var(--cut)"}
    kinds = {row.title: row.kind for row in trained}
    by_title = {title: fixed.get(kinds[title]) or shades[title] for title in titles}
    axis = {"tickMinStep": 1, "format": "d"}
    place: Spec = {
        "x": number("x", "epoch", axis=axis, scale={"nice": False, "domainMin": 0}),
        "y": number("y", title, scale={"domainMin": 0}),
    }
    colour = word("model", scale=colours(by_title), legend={"columns": 2, "symbolType": "stroke"})
    tooltip = tip(("model", "model"), ("epoch", "epoch"), ("value", title))
    layers: list[Spec] = [
        {"mark": {"type": "line", "aria": False}, "encoding": place | {"color": colour}},
        {
            "mark": {"type": "point", "size": 22, "filled": True, "opacity": 1, "aria": False},
            "encoding": place | {"color": colour},
        },
        {
            "mark": {"type": "point", "size": 300, "filled": True, "opacity": 0, "color": FAINT},
            "encoding": place | {"detail": word("model"), "tooltip": tooltip},
        },
    ]
    return chart(layers, 280, data)


def _shades(rows: Sequence[Row]) -> dict[str, str]:
    """A mix of two of the page's colours for each pruned model: further along the more was cut."""
    steps = max(len(rows) - 1, 1)
    return {
        row.title: f"color-mix(in oklab, var(--first), var(--last) {100 * i / steps:.0f}%)"
        for i, row in enumerate(rows)
    }
