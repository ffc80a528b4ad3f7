"""Odd sets: links in circles, flags as text, ids given twice, commas between columns; read right or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.layouts import conftest as made
from tests.data.layouts.test_malformed import write_voc
from yoloslim.data.prepare import prepare
from yoloslim.errors import DataError

Document = dict[str, Any]


def change(root: Path, how: Callable[[Document], None]) -> None:
    """Change the COCO file of the training images."""
    (file,) = root.rglob("*train*.json")
    document = json.loads(file.read_text())
    how(document)
    file.write_text(json.dumps(document))


def lacks_name(document: Document) -> None:
    """Of the file of its second image."""
    del document["images"][1]["file_name"]


def has_id_twice(document: Document) -> None:
    """Two categories of one number."""
    document["categories"][1]["id"] = document["categories"][0]["id"]


def test_a_link_to_a_folder_above_is_refused(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "images/train/loop").symlink_to(yolo / "images")
    with pytest.raises(DataError, match=r"images/train/loop is a link to a folder that it lies in; remove it"):
        prepare(make_params(path=str(yolo), source="yolo"), tmp_path / "out")


def test_a_link_to_itself_is_a_missing_image_or_nothing(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    for name in ("self", "self.jpg"):
        (yolo / "images/train" / name).symlink_to(yolo / "images/train" / name)
    report = prepare(make_params(path=str(yolo), source="yolo"), tmp_path / "out")
    assert [item["name"] for item in report["left_out"]] == ["self"]
    assert "Too many levels of symbolic links" in report["left_out"][0]["reason"]


def test_a_folder_called_like_an_image_is_a_missing_image(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    image = yolo / "images/train/a1.jpg"
    image.unlink()
    image.mkdir()
    report = prepare(make_params(path=str(yolo), source="yolo"), tmp_path / "out")
    assert [(item["name"], item["reason"]) for item in report["left_out"]] == [("a1", "image of 'a1' is missing")]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (has_id_twice, r"the categories '.+' and '.+' have the id \d+ both; give each its own"),
        (lacks_name, r"an image lacks its `id` or `file_name`: images\[1\] is \{'id': "),
    ],
)
def test_coco_at_fault_is_refused_with_the_place(
    tmp_path: Path, coco: Path, make_params: Any, how: Callable[[Document], None], said: str
) -> None:
    change(coco, how)
    with pytest.raises(DataError, match=said):
        prepare(make_params(path=str(coco), source="coco"), tmp_path / "out")


def test_a_list_of_detections_is_no_data_set(tmp_path: Path, coco: Path, make_params: Any) -> None:
    (file,) = coco.rglob("*train*.json")
    file.write_text(json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.5}]))
    with pytest.raises(DataError, match="holds a list, as detectors write what they found"):
        prepare(make_params(path=str(coco), source="coco"), tmp_path / "out")


@pytest.mark.parametrize(("flag", "difficult"), [("0", 0), ("false", 0), (0, 0), ("1", 1), (1, 1), (True, 1)])
def test_crowds_may_be_flagged_as_text(
    tmp_path: Path, coco: Path, make_params: Any, flag: object, difficult: int
) -> None:
    change(coco, lambda document: document["annotations"][0].update(iscrowd=flag))
    report = prepare(make_params(path=str(coco), source="coco"), tmp_path / "out")
    assert report["boxes_difficult"]["train"] == difficult


def test_an_object_with_two_boxes_is_left_out_with_its_image(tmp_path: Path, make_params: Any) -> None:
    root = write_voc(tmp_path / "voc")
    xml = root / "Annotations/a0.xml"
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    xml.write_text(xml.read_text().replace("</object>", box))
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    (left,) = report["left_out"]
    assert (left["name"], left["boxes"]) == ("a0", 1)
    assert "with several <bndbox>; give each an <object> of its own" in left["reason"]


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ("0, 0.5, 0.5, 0.2, 0.2", "blanks belong between columns, not commas"),
        ("0,0.5,0.5,0.2,0.2", "blanks belong between columns, not commas"),
        ("0 0,5 0,5 0,2 0,2", "decimals have a point, not a comma"),
    ],
)
def test_commas_in_label_files_are_told_apart(
    tmp_path: Path, yolo: Path, make_params: Any, row: str, hint: str
) -> None:
    (yolo / "labels/train/a0.txt").write_text(f"{row}\n")
    report = prepare(make_params(path=str(yolo), source="yolo"), tmp_path / "out")
    assert [item["name"] for item in report["left_out"]] == ["a0"]
    assert report["left_out"][0]["reason"].endswith(hint)


@pytest.mark.parametrize("row", ["{}.0 {} {} {} {}", "{}\t{}\t{}\t{}\t{}\r\n\r"])
def test_class_numbers_as_floats_and_tabs_are_read(tmp_path: Path, yolo: Path, make_params: Any, row: str) -> None:
    for file in (yolo / "labels").rglob("*.txt"):
        file.write_text("".join(row.format(*line.split()) + "\n" for line in file.read_text().splitlines()))
    report = prepare(make_params(path=str(yolo), source="yolo"), tmp_path / "out")
    assert (report["left_out"], report["dropped_boxes"]) == ([], [])
    made_boxes = sum(len(made.yolo_row(i).splitlines()) for members in made.SPLITS.values() for i in members)
    assert sum(report["boxes_total"].values()) == made_boxes


@pytest.mark.parametrize(
    ("text", "classes", "note"),
    [
        ("names: [cat, bird]\n", ["cat", "bird"], "data.yaml names classes and no images: all of the folder are taken"),
        ("- a\n", ["class0", "class1"], "data.yaml has neither `train` nor `names`, and was not used"),
        ("", ["class0", "class1"], "data.yaml has neither `train` nor `names`, and was not used"),
    ],
)
def test_a_description_without_images_gives_its_names(
    tmp_path: Path, yolo: Path, make_params: Any, text: str, classes: list[str], note: str
) -> None:
    (yolo / "data.yaml").write_text(text)
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert (report["layout"], report["classes"]) == ("yolo", classes)
    assert note in report["notes"]


def test_boxes_in_other_tags_leave_their_image_out(tmp_path: Path, make_params: Any) -> None:
    root = write_voc(tmp_path / "voc")
    xml = root / "Annotations/a0.xml"
    xml.write_text(xml.read_text().replace("object>", "Object>"))
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    assert [item["reason"] for item in report["left_out"]] == [
        "Annotations/a0.xml has a <bndbox> in <Object>, where VOC has <object>"
    ]
