"""Folders of detections: names that lead nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from yoloslim.runner.errors import RunnerError
from yoloslim.runner.output import Output
from yoloslim.runner.voc import write_results

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


def test_files_of_an_earlier_run_stay_and_are_said(tmp_path: Path) -> None:
    rows = np.array([[2, 2, 30, 20, 0.9, 0], [9, 9, 30, 20, 0.5, 0]], np.float32)
    first = Output(tmp_path, ("cat",), labels=True, crops=True)
    first.picture("old.JPG", IMAGE, rows)
    first.picture("one.jpg", IMAGE, rows)
    assert first.remarks() == []
    (tmp_path / "notes.md").write_text("somebody's own")
    second = Output(tmp_path, ("cat",), labels=True, crops=True)
    second.picture("one.jpg", IMAGE, rows[:1])  # the crop of its second box is of before
    others = ["crops/cat/old-1.jpg", "crops/cat/old-2.jpg", "crops/cat/one-2.jpg", "labels/old.txt", "old.JPG"]
    assert second.remarks() == [
        f"5 files in {tmp_path} are no results of this run, such as {others[0]}: they stay. If they are an earlier "
        "run's, delete them, or write to another folder"
    ]
    assert all((tmp_path / name).is_file() for name in others)


def test_result_files_of_classes_that_a_model_has_not_are_said(tmp_path: Path) -> None:
    rows = [np.array([[0, 0, 9, 9, 0.5, 1]], np.float32)]
    assert write_results(tmp_path, "test", ("cat", "dog"), ["a"], rows) == []
    assert write_results(tmp_path, "val", ("cat",), ["a"], [rows[0][:0]]) == []  # another image set is no remainder
    [note] = write_results(tmp_path, "test", ("cat",), ["a"], [rows[0][:0]])
    assert note.startswith(
        f"1 files in {tmp_path} are no results of this run, such as comp4_det_test_dog.txt: they stay"
    )
    assert (tmp_path / "comp4_det_test_dog.txt").read_text() == "a 0.500000 1.000 1.000 9.000 9.000\n"
