"""Curves and confusion of a handful of boxes, read back from the axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.results.made import put
from yoloslim.data.voc import load_split
from yoloslim.report.quality import confusion, quality
from yoloslim.results.judged import judge_rows
from yoloslim.results.records import read_rows


def drawn(panel: Any) -> Any:
    axes = Figure().subplots()
    panel(axes)
    return axes


def test_curves_are_those_of_the_stored_boxes(root: Path) -> None:
    split = load_split(root / "data/voc", "test")
    judged = judge_rows(read_rows(root), split)
    recall = drawn(quality(judged, split.classes)[3])
    lines = {line.get_label(): line for line in recall.get_lines()}
    assert set(lines) == {"baseline", "30 % pruned", "50 % pruned"}
    x, y = lines["baseline"].get_data()
    assert y[np.searchsorted(x, 0.5)] == pytest.approx(0.5)
    assert y[np.searchsorted(x, 0.95)] == 0


def test_single_model_names_its_best_and_worst_class(root: Path) -> None:
    split = load_split(root / "data/voc", "test")
    axes = drawn(quality(judge_rows(read_rows(root)[:1], split), split.classes)[0])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "best: cat",
        "worst: dog",
        "mean of classes, mAP50 0.500",
    ]


def test_best_f1_is_told_with_its_confidence(root: Path) -> None:
    wrong = [[50, 1, 60, 9, 0.2, 0]]  # above it the cat alone is left, below it half of the cats are none
    put(
        root / "detections/baseline.json",
        {"ids": ["a", "b"], "detections": [[[8, 8, 30, 40, 0.9, 0]], wrong]},
    )
    split = load_split(root / "data/voc", "test")
    axes = drawn(quality(judge_rows(read_rows(root), split), split.classes)[1])
    assert axes.get_legend().get_texts()[0].get_text() == "baseline, 0.50 at 0.20"


def test_model_that_finds_nothing_can_be_drawn(root: Path) -> None:
    put(root / "detections/baseline.json", {"ids": ["a", "b"], "detections": [[], []]})
    split = load_split(root / "data/voc", "test")
    judged = judge_rows(read_rows(root)[:1], split)
    for panel in quality(judged, split.classes):
        drawn(panel)
    confusion(judged[0], split, root / "confusion.png")
    assert (root / "confusion.png").read_bytes().startswith(b"\x89PNG")
