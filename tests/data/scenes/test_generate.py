from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from yoloslim.data.scenes import generate
from yoloslim.data.scenes.generate import generate_scenes
from yoloslim.data.voc import load_split

COUNTS = {"train": 3, "val": 2, "test": 1}


def test_written_scenes_are_those_that_were_asked_for(tmp_path: Path) -> None:
    report = generate_scenes(tmp_path, 0, 48, COUNTS, workers=1)
    split = load_split(tmp_path, "train")
    assert split.ids == ("train_000000", "train_000001", "train_000002")
    assert report["images"] == COUNTS
    assert report["boxes_total"]["train"] == sum(len(item) for item in split.annotations)
    assert report["duplicates"] == report["dropped_boxes"] == []


def test_more_scenes_leave_the_earlier_ones_as_they_were(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    for folder, count in ((few, 2), (many, 4)):
        folder.mkdir()
        generate_scenes(folder, 0, 48, COUNTS | {"train": count}, workers=1)
    for name in ("train_000001", "val_000000"):
        image = Path("JPEGImages") / f"{name}.jpg"
        assert (few / image).read_bytes() == (many / image).read_bytes()


def test_dead_processes_are_replaced_by_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def die(*_: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(generate, "FEWEST_FOR_PROCESSES", 1)
    monkeypatch.setattr(generate, "ProcessPoolExecutor", die)
    assert generate_scenes(tmp_path, 0, 48, COUNTS, workers=2)["images"] == COUNTS
    assert "processes that draw scenes died" in caplog.text
