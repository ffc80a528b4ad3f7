"""What is drawn over a test image."""

from pathlib import Path

import pytest

from tests.results.made import build, put
from yoloslim.data.voc import load_split
from yoloslim.report.page.photos import photos
from yoloslim.results.judged import judge_rows
from yoloslim.results.records import read_rows


def test_right_wrong_and_missed_boxes_are_told_apart(tmp_path: Path) -> None:
    root = build(tmp_path / "project")  # cat at 8, 8, 30, 40 and dog at 35, 20, 60, 50
    found = [[[8, 8, 30, 40, 0.9, 0], [1, 1, 20, 20, 0.5, 1], [35, 20, 60, 50, 0.1, 1]], []]
    put(root / "detections/baseline.json", {"ids": ["a", "b"], "detections": found})
    test = load_split(root / "data/voc", "test")
    judged = [item for item in judge_rows(read_rows(root), test) if item.row.name in ("baseline", "prune@50")]
    (photo,) = photos(judged, test, 4, 0.4)
    assert (photo.name, photo.width, photo.height) == ("a", 64, 48)
    assert photo.source.startswith("data:image/webp;base64,")
    seen = [(box.look, box.text, box.x, box.y, box.width, box.height) for box in photo.boxes[0]]
    assert seen == [
        ("right", "cat 0.90", 8, 8, 22, 32),
        ("wrong", "dog 0.50", 1, 1, 19, 19),
        ("missed", "", 35, 20, 25, 30),  # found, but below the threshold
    ]
    assert photo.found[0] == "baseline: cat found; 1 wrong, 1 missed"


def test_photographs_stop_where_the_page_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = build(tmp_path / "project")
    test = load_split(root / "data/voc", "test")
    judged = judge_rows(read_rows(root), test)[:2]
    assert len(photos(judged, test, 4, 0.4)) == 1
    monkeypatch.setattr("yoloslim.report.page.photos.BUDGET", 10)
    assert photos(judged, test, 4, 0.4) == []
