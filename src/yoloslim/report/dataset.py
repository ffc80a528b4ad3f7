"""What the data holds and what the network sees of it: label statistics, and the first batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from yoloslim.data.voc import Annotation, VocSplit
from yoloslim.report.drawn_boxes import CELL, draw_boxes
from yoloslim.report.style import BLUE, GREEN, ORANGE, Panel, picture

SHOWN = 30
"""Classes that the bar chart has room for."""


def labels(splits: Sequence[VocSplit]) -> list[Panel]:
    """Four charts: boxes of each class and split; sizes, places and number of the boxes that are trained on."""
    train = splits[0]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(_shares(note) for note in train.annotations)])
    spans, centres = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2

    def sizes(axes: Any) -> None:
        _cloud(axes, spans, "Sizes of boxes, % of the image", ("width", "height"))

    def places(axes: Any) -> None:
        _cloud(axes, centres, "Centres of boxes, % of the image", ("from the left", "from the top"))
        axes.invert_yaxis()

    def crowds(axes: Any) -> None:
        counts = np.array([len(note) for note in train.annotations])
        bins = np.arange(-0.5, max(int(counts.max(initial=1)), 1) + 1)
        axes.hist(counts, bins if len(bins) < 60 else 60, color=BLUE, rwidth=0.88)
        axes.set(xlabel="boxes in an image", ylabel="images", title="Boxes in an image")
        axes.grid(axis="x", visible=False)

    return [lambda axes: _classes(axes, splits), crowds, sizes, places]


def _classes(axes: Any, splits: Sequence[VocSplit]) -> None:
    names = splits[0].classes
    counts = np.stack([_count(split) for split in splits])
    order = np.argsort(-counts[0], kind="stable")
    shown = order[:SHOWN]
    start = np.zeros(len(shown))
    for row, split, colour in zip(counts, splits, (BLUE, ORANGE, GREEN), strict=False):
        axes.barh(np.arange(len(shown)), row[shown], left=start, color=colour, label=f"{split.split}: {row.sum()}")
        start += row[shown]
    axes.set_yticks(np.arange(len(shown)), [names[i] for i in shown], fontsize=8 if len(shown) > 12 else 10)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    left_out = f" (the {SHOWN} commonest of {len(names)})" if len(names) > SHOWN else ""
    axes.set(xlabel="boxes", title=f"Boxes of each class{left_out}")
    axes.legend(fontsize=9, loc="lower right")


def _count(split: VocSplit) -> NDArray[np.int64]:
    marks = np.concatenate([np.zeros(0, np.int64), *(note.labels for note in split.annotations)])
    counts: NDArray[np.int64] = np.bincount(marks.astype(np.int64), minlength=len(split.classes))
    return counts


def _shares(note: Annotation) -> NDArray[np.float32]:
    """Boxes (n, 4) as shares of their image."""
    size = np.array([note.width, note.height] * 2, np.float32)
    return note.boxes / size


def _cloud(axes: Any, points: NDArray[np.float32], title: str, names: tuple[str, str]) -> None:
    """How many boxes have each pair of shares (n, 2), on a logarithmic scale of colours."""
    cells = int(np.clip(np.sqrt(len(points)) / 2, 8, 50))
    counts, edges, _ = np.histogram2d(100 * points[:, 0], 100 * points[:, 1], bins=cells, range=((0, 100), (0, 100)))
    counts[counts == 0] = np.nan
    top = max(2.0, float(np.nanmax(counts, initial=1)))
    mesh = axes.pcolormesh(edges, edges, counts.T, cmap="viridis_r", norm=LogNorm(1, top), rasterized=True)
    axes.set(xlabel=names[0], ylabel=names[1], title=title, xlim=(0, 100), ylim=(0, 100))
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, format="{x:g}")
    bar.outline.set_visible(False)


def batches(arrays: Path, classes: Sequence[str], path: Path) -> None:
    """Draw the first batches of a training, a line each, as they went into the network.

    Args:
        arrays: batches.npz as `training.preview` writes it.
        classes: names, by label.
        path: of the PNG.
    """
    with np.load(arrays) as stored:
        images, batch, boxes = stored["images"], stored["batch"], stored["boxes"]
    lines = [np.flatnonzero(batch == number) for number in np.unique(batch)]
    columns = max(len(line) for line in lines)
    side = images.shape[1]
    with picture(path, CELL * columns, CELL * len(lines)) as figure:
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for cells, line in zip(grid, lines, strict=True):
            for axes, number in zip(cells, line, strict=False):
                axes.imshow(images[number], interpolation="lanczos")
                mine = boxes[boxes[:, 0] == number]
                half = mine[:, 4:6] / 2
                corners = side * np.concatenate([mine[:, 2:4] - half, mine[:, 2:4] + half], 1)
                draw_boxes(axes, corners, [classes[int(row[1])] for row in mine], ["truth"] * len(mine))
