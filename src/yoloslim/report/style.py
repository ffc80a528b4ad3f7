"""One look for every picture: light, sparse, and readable by people who see colours differently."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from yoloslim.files import atomic_path
from yoloslim.results.records import Row

# Okabe and Ito's palette, its pink made darker: told apart under every common kind of colour blindness.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#AA4499"
INK, FAINT, PALE = "#1f2933", "#7b8794", "#d9dee4"

Panel = Callable[[Any], None]
"""Draws one chart on matplotlib axes."""

RC = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # stays above the axes without being measured against the ticks
    "axes.titlepad": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8ebef",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "lines.linewidth": 2.0,
    "lines.markersize": 7,
    "figure.facecolor": "white",
    "figure.dpi": 150,
}


@contextmanager
def picture(path: Path, width: float, height: float, dpi: int | None = None) -> Iterator[Figure]:
    """Yield an empty figure of `width` by `height` inches in this look, and write it to `path` as PNG.

    It has `dpi` pixels an inch, 150 if None.

    It never touches pyplot, so it needs no display and leaves the settings of whoever calls it alone.
    """
    with matplotlib.rc_context(RC):  # type: ignore[arg-type, unused-ignore]
        figure = Figure(figsize=(width, height), layout="constrained", dpi=dpi)
        canvas = FigureCanvasAgg(figure)
        yield figure
        canvas.draw()  # once: `savefig` draws twice, the first time to lay out
        with atomic_path(path) as temporary:
            Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(temporary, "PNG")


def side_by_side(panels: Sequence[Panel], path: Path, *, height: float = 4.1, dpi: int | None = None) -> None:
    """Draw charts in a row of 11 inches, as wide as a README shows pictures; four of them in two rows."""
    lines = 2 if len(panels) == 4 else 1
    with picture(path, 11, height * lines, dpi) as figure:
        for panel, axes in zip(panels, figure.subplots(lines, len(panels) // lines, squeeze=False).flat, strict=True):
            panel(axes)


def whole_numbers(axes: Any) -> None:
    """Mark only whole numbers on the x axis."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def shades(count: int) -> list[Any]:
    """`count` colours from light to dark of one hue, for things that have an order, such as percents."""
    scale = matplotlib.colormaps["viridis_r"]
    return [scale(0.25 + 0.65 * (i / max(count - 1, 1))) for i in range(count)]


def row_colours(rows: Sequence[Row]) -> list[Any]:
    """A colour for each model, the same in every picture; pruned ones are darker the more was cut."""
    percents = iter(shades(sum(row.kind == "pruned" for row in rows)))
    fixed = {"baseline": INK, "control": FAINT, "sparse": RED, "unstructured": PURPLE}
    return [fixed.get(row.kind) or next(percents) for row in rows]


def percent_ticks(axes: Any, percents: Sequence[int]) -> None:
    """Mark the percents on the x axis; 0 is the dense baseline."""
    axes.set_xticks(percents, ["dense" if p == 0 else str(p) for p in percents])
    axes.set_xlabel("channels pruned, %")
