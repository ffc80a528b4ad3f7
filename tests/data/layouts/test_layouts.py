"""Every layout gives the same prepared folder, as a folder and in archives, by name and by `auto`."""

import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.data.layouts.conftest import SPLITS, WRITERS, box_of, yolo_row
from yoloslim.cli import app
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import load_split
from yoloslim.errors import DataError


def check(out: Path, report: dict[str, Any], tolerance: float = 0.01) -> None:
    assert report["images"] == {"train": 8, "val": 2, "test": 2}
    assert report["boxes_total"] == {"train": 8, "val": 2, "test": 2}
    assert sorted(report["classes"]) == ["car", "dog"]
    assert report["left_out"] == report["dropped_boxes"] == report["clipped_boxes"] == []
    for split, indices in SPLITS.items():
        loaded = load_split(out, split)
        found = dict(zip(loaded.ids, loaded.annotations, strict=True))
        for i in indices:
            np.testing.assert_allclose(found[f"a{i}"].boxes, [box_of(i)], atol=tolerance)
            assert loaded.classes[found[f"a{i}"].labels[0]] == ("dog", "car")[i % 2]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("source", ["auto", "named", "zip", "tgz"])
def test_every_layout_gives_the_same_boxes_and_splits(tmp_path: Path, make_params: Any, name: str, source: str) -> None:
    layout, write = WRITERS[name]
    root = path = write(tmp_path / "in")
    if source == "zip":
        path = tmp_path / "in.zip"
        with zipfile.ZipFile(path, "w") as packed:
            for file in sorted(p for p in root.rglob("*") if p.is_file()):
                packed.write(file, Path("export") / file.relative_to(root))
    if source == "tgz":
        path = tmp_path / "in.tgz"
        with tarfile.open(path, "w:gz") as tar:
            tar.add(root, "export/deep")
    params = make_params(path=str(path), source=layout if source == "named" else "auto")
    check(tmp_path / "out", prepare(params, tmp_path / "out"))


@pytest.mark.parametrize("to", ["voc", "yolo", "coco"])
@pytest.mark.parametrize("name", ["yolo", "coco", "cvat"])
def test_converted_sets_are_read_back_alike(tmp_path: Path, make_params: Any, name: str, to: str) -> None:
    root = WRITERS[name][1](tmp_path / "in")
    result = CliRunner().invoke(app, ["data", "convert", str(root), str(tmp_path / "to"), "--to", to])
    assert result.exit_code == 0, result.output + str(result.exception)
    assert f"12 images as {to}" in result.output
    check(tmp_path / "out", prepare(make_params(path=str(tmp_path / "to"), source="auto"), tmp_path / "out"))


@pytest.mark.parametrize("to", ["voc", "yolo", "coco"])
def test_difficult_boxes_stay_difficult(tmp_path: Path, coco: Path, make_params: Any, to: str) -> None:
    _change(coco, lambda d: d["annotations"][0].update(iscrowd=1))
    result = CliRunner().invoke(app, ["data", "convert", str(coco), str(tmp_path / "to"), "--to", to])
    assert result.exit_code == 0, result.output + str(result.exception)
    report = prepare(make_params(path=str(tmp_path / "to"), source="auto"), tmp_path / "out")
    assert report["boxes_difficult"] == {"train": 1, "val": 0, "test": 0}


def test_check_tells_layout_problems_and_draws(tmp_path: Path, yolo: Path) -> None:
    (yolo / "labels/train/a0.txt").write_text(yolo_row(0) + "\n1 0.5 0.5 0.0 0.2\n")
    page = tmp_path / "boxes.html"
    result = CliRunner().invoke(app, ["data", "check", str(yolo), "--page", str(page)])
    assert result.exit_code == 0, result.output + str(result.exception)
    assert "layout yolo, 2 classes" in result.output
    assert "zero area" in result.output
    text = page.read_text()
    assert text.count("<figure>") >= 12
    assert '<tr><td>car<td class="n">4<td class="n">1<td class="n">1' in text
    assert '<td>boxes dropped: zero area<td class="n">1<td class="n">1<td>a0.txt: car 0.5, 0.4, 0.5, 0.6' in text
    assert "Suspicious boxes (0 images)" in text
    assert "<script" not in text


def test_check_shows_suspicious_boxes_close_up(tmp_path: Path, make_params: Any) -> None:
    root = tmp_path / "in"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 255, (480, 640, 3), np.uint8)
        (root / f"images/a{i}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        small = "1 0.5 0.5 0.004 0.1\n" if i == 3 else ""
        (root / f"labels/a{i}.txt").write_text(f"0 0.3 0.3 0.2 0.2\n{small}")
    page = tmp_path / "boxes.html"
    result = CliRunner().invoke(app, ["data", "check", str(root), "--page", str(page)])
    assert result.exit_code == 0, result.output + str(result.exception)
    why = "a side under 4 px: 1; more than ten times as long as wide: 1 (pixels 248 to 392, 168 to 312)"
    assert "Suspicious boxes (1 images)</h2><section><figure>" in page.read_text()
    assert f"a3, 2 boxes<br>{why}</figcaption>" in page.read_text()


def test_check_draws_a_set_that_is_refused(tmp_path: Path, yolo: Path) -> None:
    for file in (yolo / "labels").rglob("*.txt"):
        file.write_text("0 0.5 0.5 0 0\n")
    page = tmp_path / "boxes.html"
    result = CliRunner().invoke(app, ["data", "check", str(yolo), "--page", str(page)])
    assert result.exit_code == 1
    assert f"refused; what was read is drawn in {page}" in result.output
    text = page.read_text()
    assert "<b>Refused:</b>" in text
    assert text.count("<img ") == 12
    assert "dog 0.5, 0.5, 0.5, 0.5" in text
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path / "none"), "--page", str(page)])
    assert result.exit_code == 1
    assert "None could be read" in page.read_text()
    assert "drawn" not in result.output


def test_existing_target_is_left_alone(tmp_path: Path, yolo: Path) -> None:
    result = CliRunner().invoke(app, ["data", "convert", str(yolo), str(tmp_path), "--to", "coco"])
    assert isinstance(result.exception, DataError)
    assert "is there already" in str(result.exception)


def test_set_without_test_split_gets_one_and_says_so(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "data.yaml").write_text("train: images/train\nval: images/val\nnames: {0: dog, 1: car}\n")
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert report["images"]["val"] == 2
    assert report["images"]["test"] >= 1
    assert "the data set has no split test: cut off train by its share" in report["notes"]


@pytest.mark.parametrize(
    "text",
    [
        "path: .\ntrain: [images/train]\nval: images/val\ntest: images/test\nnames: [dog, car]\n",
        "path: /nowhere/yolo\ntrain: images/train\nval: images/val\ntest: images/test\nnames: {0: dog, 1: car}\n",
        "train: ../train.txt\nval: ./images/val\ntest: ../images/test\nnames: [dog, car]\nnc: 2\n",
        "train: yolo/images/train\nval: ./yolo/images/val\ntest: yolo/images/test\nnames: [dog, car]\n",
    ],
)
def test_forms_of_data_yaml(tmp_path: Path, yolo: Path, make_params: Any, text: str) -> None:
    (yolo / "train.txt").write_text("\ufeff" + "".join(f"./images/train/a{i}.jpg\n" for i in range(8)))
    (yolo / "data.yaml").write_text(text)
    check(tmp_path / "out", prepare(make_params(path=str(yolo / "data.yaml"), source="auto"), tmp_path / "out"))


def test_polygons_in_label_files_become_boxes(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    x0, y0, x1, y1 = (v / s for v, s in zip(box_of(0), (64, 48, 64, 48), strict=True))
    (yolo / "labels/train/a0.txt").write_text(f"0 {x0} {y0} {x1} {y0} {x1} {y1} {x0} {y1}\n")
    check(tmp_path / "out", prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0 0.5 0.5 0.2", "has 4 columns; a box has 5"),
        ("0 0.5 0.5 0.2 0.2 0.9", "has 6 columns"),
        ("0 30 20 10 12", "pixels, where shares of the sides"),
        ("0 nan 0.5 0.2 0.2", "no finite numbers"),
        ("dog 0.5 0.5 0.2 0.2", "no numbers"),
        ("0.5 0.5 0.5 0.2 0.2", "is no class number"),
        ("0 " + "9" * 5000 + " 0.5 0.2 0.2", "no finite numbers"),
    ],
)
def test_bad_label_rows_leave_the_image_out_and_many_refuse(
    tmp_path: Path, yolo: Path, make_params: Any, row: str, reason: str
) -> None:
    (yolo / "labels/train/a0.txt").write_text(row)
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert reason in report["left_out"][0]["reason"]
    assert len(report["left_out"][0]["reason"]) < 250
    for i in range(8):
        (yolo / f"labels/train/a{i}.txt").write_text(row)
    with pytest.raises(DataError, match="8 of 12 images cannot be used"):
        prepare(make_params(path=str(yolo), source="auto"), tmp_path / "no")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: elsewhere\nval: images/val\nnames: [dog, car]\n",
            r"`train: elsewhere` leads nowhere, nor does an end of it; tried .*/elsewhere",
        ),
        ("train: images/train\nval: images/val\nnames: [dog]\n", "names 1 classes, but labels use number 1"),
        ("train: images/train\nval: images/val\nnames: [dog, dog]\n", "names the class 'dog' twice"),
        ("train: images/train\nval: images/val\nnames: [yes, no]\n", r"holds True, which YAML .* put quotes around it"),
        ("train: images/train\nval: images/val\nnames: {0: [dog], 1: car}\n", r"holds \['dog'\], which YAML"),
        (
            "train: images/train\nval: images/val\nnames: [1.50, 2]\n",
            r"holds 1\.50, which YAML reads as 1\.5: put quotes",
        ),
        (
            "train: images/train\nval: images/val\nnames: {0: 7, 1: 010}\n",
            r"holds 010, which YAML reads as 8: put quotes",
        ),
        ("train: 5\nval: images/val\nnames: [dog, car]\n", "which is no path"),
        ("train: images/train\nval: images/val\nnames: 3\n", "neither a list"),
        ("train: [", "not valid YAML"),
    ],
)
def test_bad_data_yaml_says_what_is_wrong(
    tmp_path: Path, yolo: Path, make_params: Any, text: str, message: str
) -> None:
    (yolo / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        prepare(make_params(path=str(yolo), source="yolo"), tmp_path / "out")


def _change(coco: Path, change: Any) -> None:
    path = coco / "annotations/instances_train2017.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("images"), "has no list `images`"),
        (lambda d: d["images"].append(5), "`images` holds something else"),
        (lambda d: d["images"].append(d["images"][0]), "two images have the id 0"),
        (lambda d: d["categories"][0].pop("name"), "a category lacks its"),
    ],
)
def test_bad_coco_says_what_is_wrong(tmp_path: Path, coco: Path, make_params: Any, change: Any, message: str) -> None:
    _change(coco, change)
    with pytest.raises(DataError, match=message):
        prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")


def test_ids_of_coco_are_equal_if_they_read_alike_and_annotations_of_no_image_count(
    tmp_path: Path, coco: Path, make_params: Any
) -> None:
    _change(coco, lambda d: [item.update(image_id=str(item["image_id"])) for item in d["annotations"]])
    check(tmp_path / "out", prepare(make_params(path=str(coco), source="auto"), tmp_path / "out"))
    _change(coco, lambda d: d["annotations"].append({**d["annotations"][0], "image_id": "99"}))
    report = prepare(make_params(path=str(coco), source="auto"), tmp_path / "one")
    assert "1 of 13 annotations were left out: their image is not listed, the first image_id is '99'" in report["notes"]
    _change(coco, lambda d: [item.update(image_id=99) for item in d["annotations"][:4]])
    with pytest.raises(DataError, match=r"5 of 13 annotations were left out: .*more than 20%, check the ids of"):
        prepare(make_params(path=str(coco), source="auto"), tmp_path / "no")


def test_corners_where_coco_has_width_and_height_are_refused(tmp_path: Path, coco: Path, make_params: Any) -> None:
    for split in ("train", "val", "test"):
        path = coco / f"annotations/instances_{split}2017.json"
        document = json.loads(path.read_text())
        for item in document["annotations"]:
            item["bbox"] = [20 + item["image_id"], 15, 60, 40]  # of 64 x 48 px
        path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"of 12 boxes reach out of their images, and all would fit as corners"):
        prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")


def test_dropped_boxes_of_a_file_about_many_images_name_the_image(tmp_path: Path, coco: Path, make_params: Any) -> None:
    _change(coco, lambda d: [item["bbox"].__setitem__(2, 0) for item in d["annotations"][:2]])
    report = prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")
    files = [note["file"] for note in report["dropped_boxes"]]
    assert files == ["instances_train2017.json, a0", "instances_train2017.json, a1"]


def test_pictures_of_unread_kinds_are_counted_in_yolo_too(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "images/train/a99.gif").write_bytes(b"GIF89a")
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert "1 files of kind .gif cannot be read and were ignored; convert them to JPEG or PNG" in report["notes"]


def test_an_address_is_told_from_a_path(tmp_path: Path, make_params: Any) -> None:
    with pytest.raises(DataError, match=r"https://example.org/a.zip is an address: download it"):
        prepare(make_params(path=str(Path("https://example.org/a.zip")), source="auto"), tmp_path / "out")


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (["1", "2", "3", "4"], "'1' stands where a number belongs"),
        ([1e308, 2, 3, 4], "'1e+308' stands where a number belongs"),
        ("x", "is not x, y, width, height"),
        ([1, 2, 3], "is not"),
    ],
)
def test_coco_boxes_that_are_none_leave_their_image_out(
    tmp_path: Path, coco: Path, make_params: Any, box: object, message: str
) -> None:
    _change(coco, lambda d: d["annotations"][0].update(bbox=box))
    report = prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")
    assert message in report["left_out"][0]["reason"]
    assert report["left_out"][0]["boxes"] == 1


def test_truncated_coco_is_refused_and_crowds_are_difficult(tmp_path: Path, coco: Path, make_params: Any) -> None:
    _change(coco, lambda d: d["annotations"][0].update(iscrowd=1, segmentation={"counts": "abc", "size": [48, 64]}))
    report = prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")
    assert report["boxes_difficult"]["train"] == 1
    path = coco / "annotations/instances_val2017.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(DataError, match=r"instances_val2017\.json is not valid JSON"):
        prepare(make_params(path=str(coco), source="auto"), tmp_path / "no")


def test_folder_that_fits_two_layouts_says_which_was_taken(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    WRITERS["coco"][1](yolo)
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert "read as yolo; it could be coco too: data.source chooses" in report["notes"]


def test_folder_of_no_layout_lists_those_that_were_tried(tmp_path: Path, make_params: Any) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"yolo .*coco .*cvat .*labelme"):
        prepare(make_params(path=str(tmp_path / "in"), source="auto"), tmp_path / "out")
