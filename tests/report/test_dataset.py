"""What the label statistics count, read back from the axes."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tests.results.made import batches
from yoloslim.data.voc import SPLITS, annotation_from, load_split, write_annotation
from yoloslim.report import dataset


def drawn(panel: Any) -> Any:
    axes = Figure().subplots()
    panel(axes)
    return axes


def test_labels_are_counted_by_class_split_and_image(root: Path) -> None:
    counts, crowds, sizes, places = (
        drawn(p) for p in dataset.labels([load_split(root / "data/voc", s) for s in SPLITS])
    )
    assert [text.get_text() for text in counts.get_yticklabels()] == ["cat", "dog"]
    assert [bar.get_width() for bar in counts.patches] == [1] * 6
    assert [text.get_text() for text in counts.get_legend().get_texts()] == ["train: 2", "val: 2", "test: 2"]
    assert [bar.get_height() for bar in crowds.patches] == [1, 0, 1]  # none, one, two boxes
    assert cells(sizes) == {(2, 5), (3, 5)}  # of 8 x 8: 22 x 32 and 25 x 30 px in 64 x 48
    assert cells(places) == {(2, 4), (5, 5)}
    assert np.nansum(sizes.collections[0].get_array()) == 2
    assert np.nansum(places.collections[0].get_array()) == 2
    assert places.yaxis_inverted()


def cells(axes: Any) -> set[tuple[int, int]]:
    found = np.argwhere(~np.isnan(axes.collections[0].get_array().filled(np.nan)))
    return {(int(x), int(y)) for y, x in found}


def test_data_without_boxes_gives_empty_charts(root: Path) -> None:
    for path in (root / "data/voc/Annotations").iterdir():
        write_annotation(path, f"{path.stem}.jpg", annotation_from(64, 48, [], [], [], []), ("cat",))
    counts, crowds, sizes, places = (
        drawn(p) for p in dataset.labels([load_split(root / "data/voc", s) for s in SPLITS])
    )
    assert [bar.get_width() for bar in counts.patches] == [0] * 6
    assert [bar.get_height() for bar in crowds.patches] == [2, 0]  # both images have none
    assert cells(sizes) == cells(places) == set()


def test_batches_are_drawn_a_line_each(root: Path) -> None:
    batches(root / "b.npz")
    dataset.batches(root / "b.npz", ("cat", "dog"), root / "batches.png")
    assert (root / "batches.png").read_bytes().startswith(b"\x89PNG")
