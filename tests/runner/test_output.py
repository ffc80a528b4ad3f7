"""Folders of detections: names that lead nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from yoloslim.runner.errors import RunnerError
from yoloslim.runner.output import Output

IMAGE = np.full((40, 60, 3), 9, np.uint8)


def test_crops_of_classes_with_odd_names_stay_in_their_folder(tmp_path: Path) -> None:
    classes = ("..", ".hidden", "a/b", "行人")
    output = Output(tmp_path / "out", classes, crops=True)
    rows = np.array([[1.2, 2, 30.5, 20, 0.9, label] for label in range(4)], np.float32)
    output.picture("one.png", IMAGE, rows)
    output.picture("one.jpg", IMAGE, rows[:1])
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    assert found == [
        "out/crops/%2E./one-1.jpg",
        "out/crops/%2E./one-2-1.jpg",
        "out/crops/%2Ehidden/one-2.jpg",
        "out/crops/a%2Fb/one-3.jpg",
        "out/crops/行人/one-4.jpg",
        "out/one.jpg",
    ]


def test_classes_are_chosen_by_name_number_or_several(tmp_path: Path) -> None:
    classes = ("cat", "traffic light", "a,b")
    rows = np.array([[0, 0, 9, 9, 0.9, label] for label in (2, 0, 1)], np.float32)
    for only, kept in (
        ((), [2, 0, 1]),
        (("traffic light",), [1]),
        (("a,b",), [2]),
        (("cat, 1",), [0, 1]),
        (("2", "cat"), [2, 0]),
    ):
        assert Output(tmp_path, classes, only).keep(rows)[:, 5].tolist() == kept, only
    with pytest.raises(RunnerError, match="no class '3'; it has cat, traffic light, a,b"):
        Output(tmp_path, classes, ("3",))


def test_an_image_without_boxes_has_an_empty_text(tmp_path: Path) -> None:
    Output(tmp_path, ("cat",), labels=True).picture("one.jpg", IMAGE, np.empty((0, 6), np.float32))
    assert (tmp_path / "labels/one.txt").read_text() == ""
