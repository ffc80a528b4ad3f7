"""Forms that public exports, converters and annotation tools write."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.layouts import conftest as made
from tests.data.layouts.test_layouts import check
from tests.data.layouts.test_malformed import write_voc
from yoloslim.data.prepare import prepare
from yoloslim.errors import DataError


def prepared(root: Path, tmp_path: Path, make_params: Any) -> dict[str, Any]:
    report: dict[str, Any] = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    return report


SPLITS = "train: images/train\nval: images/val\ntest: images/test\n"


@pytest.mark.parametrize(
    "text",
    [
        SPLITS.replace("val:", "validation:").replace("test:", "testing:") + "names: [dog, car]\n",
        SPLITS + "names: {'0': dog, '1': car}\nchannels: 3\nnc: '2'\n",
        SPLITS.replace("/", "\\") + "path: C:\\Users\\me\\pets\nnames: [dog, car]\n",
        SPLITS.replace("images/", "/kaggle/input/pets/images/") + "names: [dog, car]\n",
        f"path: ../datasets/pets\n{SPLITS}names: [dog, car]\ndownload: |\n  raise SystemExit\n",
    ],
)
def test_data_yaml_of_public_exports_is_read(tmp_path: Path, yolo: Path, make_params: Any, text: str) -> None:
    (yolo / "data.yaml").write_text(text)
    check(tmp_path / "out", prepared(yolo, tmp_path, make_params))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Train: images/train\nVal: images/val\nNames: [dog, car]\n", "has the key `Train`, .*: write `train`$"),
        ("train: images/train\nNames: [dog, car]\n", "has the key `Names`, which nothing reads: write `names`$"),
        ('train: "C:\\Users\\me"\nnames: [a]\n', "double quotes a backslash means something else: write / instead$"),
        ("train: https://x.org/a.zip\nnames: [a]\n", "`train: https://x.org/a.zip` is an address: download it, and"),
        (
            "train: a\nnames: [a]\ndownload: https://x.org\n",
            "`download:` is not carried out here: run it as its makers",
        ),
    ],
)
def test_data_yaml_that_cannot_be_used_has_a_way_out(
    tmp_path: Path, yolo: Path, make_params: Any, text: str, message: str
) -> None:
    (yolo / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=re.compile(message, re.DOTALL)):
        prepared(yolo, tmp_path, make_params)


def test_splits_that_data_yaml_leaves_out_are_counted(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "data.yaml").write_text("train: images/train\nval:\nnames: [dog, car]\n")
    notes = prepared(yolo, tmp_path, make_params)["notes"]
    assert "4 images with labels are in no split of data.yaml and were not used, such as images/test/a10.jpg" in notes


def rows(root: Path, change: Callable[[str], str]) -> None:
    for file in root.rglob("labels/*/*.txt"):
        file.write_text(change(file.read_text().strip()) + "\n")


def test_key_points_that_no_description_tells_are_no_outline(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    rows(yolo, lambda row: f"{row} 0.2 0.3 2 0.3 0.4 1 0.1 0.1 0 0.5 0.5 2")
    with pytest.raises(
        DataError, match=r"12 rows of 17 columns look like boxes with key .* `kpt_shape: \[4, 3\]` into"
    ):
        prepared(yolo, tmp_path, make_params)
    rows(yolo, lambda row: " ".join(row.split()[:5]) + " 0.2 0.3" * 3)
    notes = prepared(yolo, tmp_path, make_params)["notes"]
    said = "all outlines have 5 points: if these are boxes with key points behind, write `kpt_shape: [3, 2]` into "
    assert f"{said}data.yaml" in notes
    with (yolo / "data.yaml").open("a") as file:
        file.write("kpt_shape: [3, 2]\n")
    (yolo / "labels/train/a0.txt").write_text(made.yolo_row(0) + "\n")
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "again")
    check(tmp_path / "again", report)
    assert "11 rows have key points behind their box, which are not used" in report["notes"]


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda row: "class x y width height", "which are no numbers; headings are not read"),
        (lambda row: f"dog{row[1:]}", "the number of the class belongs in front, its name into data.yaml"),
        (lambda row: "1 2 3 2 3 4 1 4 dog 0", "has 10 columns; .*; DOTA's form is not read"),
        (lambda row: "0 0.5 0.5 0.2_5 0.2", "holds '0 0.5 0.5 0.2_5 0.2', which are no numbers;"),
        (lambda row: "\u0660 0.5 0.5 0.2 0.2", "which are no numbers;"),
    ],
)
def test_rows_of_other_forms_are_refused(tmp_path: Path, yolo: Path, make_params: Any, change: Any, hint: str) -> None:
    rows(yolo, change)
    with pytest.raises(DataError, match=hint):
        prepared(yolo, tmp_path, make_params)


def documents(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    for file in root.rglob("*.json"):
        document = json.loads(file.read_text())
        file.write_text(json.dumps(change(document) or document))


def each(key: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda document: [change(item) for item in document[key]] and None


def _as_outline(item: dict[str, Any], flat: bool) -> None:
    x, y, width, height = item.pop("bbox")
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    item["segmentation"] = corners if flat else [corners]


def _named(document: dict[str, Any]) -> None:
    names = {item["id"]: item["name"] for item in document["categories"]}
    for item in document["categories"]:
        item["id"] = item["name"]
    for item in document["annotations"]:
        item["category_id"] = names[item["category_id"]]


@pytest.mark.parametrize(
    "change",
    [
        each("images", lambda item: item.update(id=float(item["id"]))),
        each("annotations", lambda item: item.update(image_id=float(item["image_id"]))),
        each("images", lambda item: item.update(id=f"{item['id']:012}")),
        each("annotations", lambda item: item.update(category_id=str(item["category_id"]))),
        each("annotations", lambda item: _as_outline(item, True)),
        each("annotations", lambda item: _as_outline(item, False)),
        each("images", lambda item: item.update(file_name=f"C:\\data\\{item['file_name']}")),
        _named,
    ],
)
def test_forms_of_coco_are_read(tmp_path: Path, coco: Path, make_params: Any, change: Any) -> None:
    documents(coco, change)
    check(tmp_path / "out", prepared(coco, tmp_path, make_params))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            each("annotations", lambda i: i.update(bbox=[], segmentation={"counts": "a"})),
            r"has a mask \(RLE\), .*no bbox",
        ),
        (each("categories", lambda i: i.pop("name")), r"lacks its `id` or `name`: categories\[0\] is {'id': 3}"),
        (
            each("images", lambda i: i.update(id=i["id"] + 0.5)),
            r"lacks its `id` or `file_name`: images\[0\] is {'id': ",
        ),
        (
            lambda d: [{"image": "a.jpg", "annotations": [{"coordinates": {}}], "file_name": ""}],
            "CreateML's list: export",
        ),
        (
            lambda d: [{"id": 1, "data": {"image": "a.jpg"}, "annotations": [], "file_name": ""}],
            "Label Studio's list: ex",
        ),
    ],
)
def test_coco_that_cannot_be_used_says_why(
    tmp_path: Path, coco: Path, make_params: Any, change: Any, message: str
) -> None:
    documents(coco, change)
    with pytest.raises(DataError, match=message):
        prepared(coco, tmp_path, make_params)


def test_tracks_of_cvat_are_named(tmp_path: Path, make_params: Any) -> None:
    root = made.write_cvat(tmp_path / "cvat")
    file, track = root / "annotations.xml", '<track id="0" label="dog"><box frame="0" xtl="1"/></track>'
    whole = file.read_text()
    file.write_text(whole.replace("</annotations>", f"{track * 2}</annotations>"))
    notes = prepared(root, tmp_path, make_params)["notes"]
    assert "2 tracks, as 'CVAT for video' has them, were left out" in notes
    file.write_text(re.sub("<image .*</image>", track, whole))
    with pytest.raises(DataError, match="is 'CVAT for video', 1 tracks; export from CVAT as 'CVAT for images', which"):
        prepared(root, tmp_path, make_params)


def test_labels_of_labelme_may_be_numbers(tmp_path: Path, make_params: Any) -> None:
    root = made.write_labelme(tmp_path / "labelme")
    documents(root, each("shapes", lambda shape: shape.update(label=7)))
    assert prepared(root, tmp_path, make_params)["classes"] == ["7"]


def test_xml_that_labelimg_marked_as_verified_is_voc(tmp_path: Path, make_params: Any) -> None:
    root = made.write_roboflow(tmp_path / "voc")
    (root / "a.xml").write_text("<project/>")
    for file in root.rglob("a?*.xml"):
        file.write_text(file.read_text().replace("<annotation>", '<annotation verified="yes">'))
    report = prepared(root, tmp_path, make_params)
    assert report["layout"] == "voc"
    assert [item["reason"] for item in report["left_out"]] == ["a.xml holds <project> where VOC has <annotation>"]


def test_annotations_that_name_another_image_are_counted_in_one_note(tmp_path: Path, make_params: Any) -> None:
    root = write_voc(tmp_path / "voc")
    for number, file in enumerate(sorted((root / "Annotations").iterdir())):
        other = f"a{(number + 1) % 12}.jpg" if number < 5 else f"gone{number}.jpg"
        file.write_text(re.sub("<filename>.*?</filename>", "", file.read_text()).replace(
            "<annotation>", f"<annotation><filename>{other}</filename>"
        ))  # fmt: skip
    notes = prepared(root, tmp_path, make_params)["notes"]
    (said,) = [note for note in notes if "name another image that is there" in note]
    assert said.endswith("that of their own name was taken: a0.xml names 'a1.jpg'")
    for number, file in enumerate(sorted((root / "JPEGImages").iterdir())):
        file.rename(file.with_name(f"b{number}.jpg"))
    for number, file in enumerate(sorted((root / "Annotations").iterdir())):
        file.write_text(re.sub("<filename>.*?</filename>", f"<filename>b{number}.jpg</filename>", file.read_text()))
    notes = prepare(make_params(path=str(root), source="auto"), tmp_path / "again")["notes"]
    (said,) = [note for note in notes if "no image of their name" in note]
    assert said.startswith("12 annotations have no image of their name; the one that they name was taken: a0.xml names")


def test_images_that_may_have_been_resized_since_are_said(tmp_path: Path, coco: Path, make_params: Any) -> None:
    documents(coco, each("images", lambda item: item.update(width=128, height=96)))
    (said,) = [note for note in prepared(coco, tmp_path, make_params)["notes"] if note.startswith("LOOK")]
    assert said.startswith("LOOK AT THEM: 12 images have the shape that is stated and another size; boxes were taken")
    documents(coco, each("images", lambda item: item.update(width=96, height=128)))
    report = prepare(make_params(path=str(coco), source="auto"), tmp_path / "again")
    assert not [note for note in report["notes"] if note.startswith("LOOK")]
