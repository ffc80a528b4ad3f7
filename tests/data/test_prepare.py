import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from yoloslim.data.images import read_image
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import load_split
from yoloslim.errors import DataError

NAMED = {"train_set": "train", "val_set": "val", "test_set": "test"}


def _sets(count: int = 12) -> dict[str, list[str]]:
    names = [f"a{index}" for index in range(count)]
    return {"train": names[: count - 4], "val": names[count - 4 : count - 2], "test": names[count - 2 :]}


def test_named_sets_become_splits_and_images_keep_their_bytes(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", sets=_sets())
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    assert report["images"] == {"train": 8, "val": 2, "test": 2}
    assert report["boxes"]["val"] == {"car": 2}
    split = load_split(tmp_path / "out", "val")
    assert split.ids == ("a8", "a9")
    assert split.annotations[0].boxes.tolist() == [[1, 2, 20, 18]]
    assert split.image_path(0).read_bytes() == (root / "JPEGImages" / "a8.jpg").read_bytes()
    assert split.image_path(0).stat().st_ino != (root / "JPEGImages" / "a8.jpg").stat().st_ino
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report


def test_folder_and_tar_give_the_same_prepared_folder(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in")
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        tar.add(root, "top/inner")
    reports = [
        prepare(make_params(path=str(path)), tmp_path / "out" / path.stem / path.suffix.strip("."))
        for path in (root, tmp_path / "in.tar")
    ]
    assert reports[0] == reports[1]
    assert not list((tmp_path / "out" / "in").glob(".*")), "temporary folders stayed behind"


def test_folder_is_read_only_in_spirit(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    prepare(make_params(path=str(root)), tmp_path / "out")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_seeded_split_is_made_where_no_set_is_named(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", count=20)
    first = prepare(make_params(path=str(root)), tmp_path / "one")
    assert first["images"] == {"train": 12, "val": 4, "test": 4}
    prepare(make_params(path=str(root)), tmp_path / "two")
    prepare(make_params(path=str(root), seed=1), tmp_path / "three")
    ids = [load_split(tmp_path / name, "val").ids for name in ("one", "two", "three")]
    assert ids[0] == ids[1] != ids[2]


def test_val_is_cut_off_train_when_only_val_has_no_set(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", sets={"trainval": [f"a{i}" for i in range(10)], "test": ["a10", "a11"]})
    params = make_params(path=str(root), train_set="trainval", test_set="test")
    report = prepare(params, tmp_path / "out")
    assert report["images"] == {"train": 8, "val": 2, "test": 2}
    assert report["duplicates"] == []


def test_bad_boxes_are_dropped_or_clipped_and_reported(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    boxes = {
        "a0": [
            ("car", (5, 5, 5, 9)),
            ("car", (9, 5, 5, 9)),
            ("car", (40, 5, 50, 9)),
            ("car", (5, 5, 6, 5.5)),
            ("car", (-3, 5, 40, 30)),
        ]
    }
    root = make_voc(tmp_path / "in", objects=boxes, sets=_sets())
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    reasons = [note["reason"] for note in report["dropped_boxes"]]
    assert reasons[:2] == ["zero area", "outside the image"]
    assert reasons[2] == "shorter side 1.5 px is under min_box_px=2"
    assert report["dropped_boxes"][0] == {
        "file": "a0.xml",
        "class": "car",
        "box": [5, 5, 5, 9],
        "reason": "zero area",
    }
    assert [note["box"] for note in report["clipped_boxes"]] == [[-3, 5, 40, 30]]
    assert load_split(tmp_path / "out", "train").annotations[0].boxes.tolist() == [[4, 4, 9, 9], [0, 4, 32, 24]]


def test_broken_files_are_left_out_and_reported(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    sets = _sets(40)
    sets["train"].append("ghost")
    root = make_voc(tmp_path / "in", count=40, sets=sets)
    image = root / "JPEGImages" / "a0.jpg"
    image.write_bytes(image.read_bytes()[:200])
    (root / "JPEGImages" / "a1.jpg").unlink()
    (root / "Annotations" / "a2.xml").write_text("<annotation><object>")
    (root / "Annotations" / "a3.xml").write_text("")
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    left_out = {item["name"]: item["reason"] for item in report["left_out"]}
    assert list(left_out) == ["a0", "a1", "a2", "a3", "ghost"]
    assert "JPEGImages/a0.jpg is a truncated JPEG (200 bytes" in left_out["a0"]
    assert left_out["a1"] == "image of 'a1' is missing in JPEGImages"
    assert "not well-formed" in left_out["a2"]
    assert "a3.xml is empty" in left_out["a3"]
    assert "ghost.xml is missing" in left_out["ghost"]
    assert report["images"]["train"] == 32
    assert "a0" not in load_split(tmp_path / "out", "train").ids


def test_data_set_with_too_many_broken_images_is_refused(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", sets=_sets())
    for index in range(3):
        (root / "JPEGImages" / f"a{index}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"3 of 12 images cannot be used, more than 20%: .*a0\.jpg"):
        prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_class_outside_the_fixed_list_leaves_its_image_out(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", objects={"a0": [("caar", (2, 3, 20, 18))]}, sets=_sets())
    report = prepare(make_params(path=str(root), classes=["person", "car"], **NAMED), tmp_path / "out")
    assert report["classes"] == ["person", "car"]
    assert [item["name"] for item in report["left_out"]] == ["a0"]
    assert "names the class 'caar'" in report["left_out"][0]["reason"]
    assert "nearest known one is 'car'" in report["left_out"][0]["reason"]
    collected = prepare(make_params(path=str(root), **NAMED), tmp_path / "all")
    assert collected["classes"] == ["caar", "car"]


def test_images_without_objects_are_kept_and_counted(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", objects={"a0": [], "a8": []}, sets=_sets())
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    assert report["images_without_objects"] == {"train": 1, "val": 1, "test": 0}
    assert len(load_split(tmp_path / "out", "val").annotations[0]) == 0


def test_empty_split_names_its_set(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", sets=_sets() | {"val": []})
    with pytest.raises(DataError, match=r"split 'val' \(image set 'val'\) has no usable image.*data\.val_set"):
        prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    with pytest.raises(DataError, match=r"split 'test' \(test_share=0\)"):
        prepare(make_params(path=str(root), test_share=0.0), tmp_path / "out")


def test_duplicates_between_splits_are_found_by_name_bytes_and_pixels(
    tmp_path: Path, make_voc: Any, make_params: Any
) -> None:
    sets = _sets()
    sets["test"].append("a1")
    root = make_voc(tmp_path / "in", sets=sets)
    images = root / "JPEGImages"
    (images / "a8.jpg").write_bytes((images / "a0.jpg").read_bytes())
    (images / "a10.jpg").write_bytes((images / "a2.jpg").read_bytes() + b"\0")
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    assert report["duplicates"] == [
        {"same": "name", "names": ["a1"], "splits": ["test", "train"]},
        {"same": "bytes", "names": ["a0", "a8"], "splits": ["train", "val"]},
        {"same": "pixels", "names": ["a10", "a2"], "splits": ["test", "train"]},
    ]


def test_test_set_used_as_val_is_a_note_and_no_duplicate(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", sets=_sets())
    params = make_params(path=str(root), train_set="train", val_set="test", test_set="test")
    report = prepare(params, tmp_path / "out")
    assert report["duplicates"] == []
    assert any("val and test are the same image set" in note for note in report["notes"])


def test_other_formats_become_jpeg_and_wrong_sizes_are_reported(
    tmp_path: Path, make_voc: Any, make_params: Any
) -> None:
    root = make_voc(tmp_path / "in", sets=_sets())
    (root / "JPEGImages" / "a0.jpg").unlink()
    cv2.imwrite(str(root / "JPEGImages" / "a0.png"), np.full((20, 30, 3), (0, 0, 255), np.uint8))
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    image = read_image(load_split(tmp_path / "out", "train").image_path(0))
    assert report["converted_to_jpeg"] == 1
    assert image.shape == (20, 30, 3)
    np.testing.assert_allclose(image[10, 10], [255, 0, 0], atol=3)
    assert report["size_mismatches"] == [{"name": "a0", "xml": [32, 24], "image": [30, 20]}]


def test_names_that_leave_the_folder_are_left_out(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    sets = _sets()
    sets["train"].append("../../secret")
    report = prepare(make_params(path=str(make_voc(tmp_path / "in", sets=sets)), **NAMED), tmp_path / "out")
    assert report["left_out"][0]["reason"] == "image set names '../../secret', which is no plain file name"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "cocoa"}, r"data\.source='cocoa' is unknown"),
        ({"path": ""}, r"data\.path is empty"),
        ({"path": "nowhere.tar"}, r"nowhere\.tar is missing"),
        ({"source": "scenes", "val_images": 0}, r"split 'val' \(val_images=0\)"),
    ],
)
def test_unusable_sources_say_the_way_out(
    tmp_path: Path, make_params: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepare(make_params(**values), tmp_path / "out")


def test_folder_without_voc_layout_is_refused(tmp_path: Path, make_params: Any) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="has no layout that was looked for"):
        prepare(make_params(path=str(tmp_path / "in")), tmp_path / "out")


def test_failed_run_leaves_the_earlier_folder_alone(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    prepare(make_params(path=str(make_voc(tmp_path / "in"))), tmp_path / "out")
    before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    with pytest.raises(DataError):
        prepare(make_params(path="nowhere.tar"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before


def test_scenes_give_the_same_files_whatever_the_number_of_workers(
    tmp_path: Path, make_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloslim.data.scenes.generate.FEWEST_FOR_PROCESSES", 4)
    for workers in (1, 2):
        report = prepare(make_params(source="scenes", workers=workers), tmp_path / str(workers))
        assert report["images"] == {"train": 4, "val": 2, "test": 2}
    files = [path for path in sorted((tmp_path / "1").rglob("*")) if path.is_file()]
    assert len(files) == 8 + 8 + 3 + 2
    for path in files:
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes(), path


@pytest.mark.data
@pytest.mark.parametrize("pack", ["bccd"], indirect=True)
def test_bccd_loses_exactly_its_two_boxes_without_area(tmp_path: Path, pack: Path, make_params: Any) -> None:
    report = prepare(make_params(path=str(pack), **NAMED), tmp_path / "out")
    assert report["images"] == {"train": 205, "val": 87, "test": 72}
    assert sum(report["boxes_total"].values()) == 4888 - 2
    dropped = sorted((item["file"], item["class"], item["reason"]) for item in report["dropped_boxes"])
    assert dropped == [
        ("BloodImage_00338.xml", "RBC", "zero area"),
        ("BloodImage_00343.xml", "RBC", "zero area"),
    ]
    assert report["left_out"] == report["duplicates"] == report["size_mismatches"] == []


@pytest.mark.data
@pytest.mark.parametrize("pack", ["coco20"], indirect=True)
def test_coco20_is_read_whole(tmp_path: Path, pack: Path, make_params: Any) -> None:
    report = prepare(make_params(path=str(pack), **NAMED), tmp_path / "out")
    assert report["images"] == {"train": 271, "val": 41, "test": 125}
    assert len(report["classes"]) == 20
    assert report["boxes"]["test"]["bird"] == 26


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("pack", ["groceries"], indirect=True)
def test_groceries_shows_its_copies_across_folds(tmp_path: Path, pack: Path, make_params: Any) -> None:
    params: SimpleNamespace = make_params(path=str(pack), workers=0, **NAMED)
    report = prepare(params, tmp_path / "out")
    assert report["images"] == {"train": 2971, "val": 958, "test": 1018}
    assert len(report["duplicates"]) == 8
    assert report["duplicates"][0]["names"] == ["COFFEE0092", "COFFEE0193"]
    assert [item["file"] for item in report["dropped_boxes"]] == ["FISH0041.xml"]
