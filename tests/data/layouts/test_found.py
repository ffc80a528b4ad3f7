"""Data sets that describe themselves badly, as people have them: files are found, and what was done is said."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.layouts import conftest as made
from tests.data.layouts.test_layouts import check
from tests.data.layouts.test_malformed import write_voc
from yoloslim.data.layouts import readers
from yoloslim.data.prepare import prepare, read_layout
from yoloslim.data.voc import load_split
from yoloslim.errors import DataError

NO_SETS = {"train": "", "val": "", "test": ""}
LISTS = "train: train.txt\nval: val.txt\ntest: test.txt\nnames: [dog, car]\n"


def lists(root: Path, prefix: str) -> None:
    for split, indices in made.SPLITS.items():
        (root / f"{split}.txt").write_text("".join(f"{prefix}images/{split}/a{i}.jpg\n" for i in indices))
    (root / "data.yaml").write_text(LISTS)


def upper(root: Path) -> None:
    for kind in ("images", "labels"):
        (root / kind).rename(root / kind.title())
    splits = "".join(f"{split}: Images/{split}\n" for split in made.SPLITS)
    (root / "data.yaml").write_text(f"{splits}names: [dog, car]\n")
    for path in list(root.rglob("*.txt")):
        path.rename(path.with_suffix(".TXT"))


def darknet(root: Path) -> None:
    (root / "data").mkdir()
    for split, indices in made.SPLITS.items():
        for kind in ("images", "labels"):
            for path in sorted((root / kind / split).iterdir()):
                path.rename(root / "data" / path.name)
        (root / "data" / f"{split}.txt").write_text("".join(f"build/obj/a{i}.jpg\n" for i in indices))
    for path in (root / "images", root / "labels"):
        shutil.rmtree(path)
    (root / "data.yaml").unlink()
    (root / "data" / "my.names").write_text("dog\ncar\n")
    lines = "classes = 2\n# mine\ntrain = data/train.txt\nvalid = data/val.txt\ntest=data/test.txt\n"
    (root / "data" / "my.data").write_text(f"{lines}names = build/my.names\nbackup = backup\n")


def unnamed(root: Path) -> None:
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("dog\ncar\n")


def splits_apart(root: Path) -> None:
    unnamed(root)
    for split in made.SPLITS:
        (root / split).mkdir()
        for kind in ("images", "labels"):
            (root / kind / split).rename(root / split / kind)
    for kind in ("images", "labels"):
        (root / kind).rmdir()


def key_points(root: Path) -> None:
    for path in (root / "labels").rglob("*.txt"):
        path.write_text(f"{path.read_text().strip()} 0.1 0.1 0.9 0.9\n")
    with (root / "data.yaml").open("a") as stream:
        stream.write("kpt_shape: [2, 2]\n")


def moved(root: Path, prefix: str) -> None:
    """A data.yaml with the paths of another machine."""
    splits = "".join(f'{split}: "{prefix}images/{split}"\n' for split in made.SPLITS)
    (root / "data.yaml").write_text(f"{splits}names: [dog, car]\n")


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda root: lists(root, "./"), ""),
        (lambda root: lists(root, "/content/set/"), "8 images of train.txt are not where it says"),
        (upper, ""),
        (darknet, "8 images of train.txt are not where it says; found by the ends of their paths"),
        (unnamed, ""),
        (splits_apart, ""),
        (key_points, ""),
        (
            lambda root: moved(root, "/home/them/set/"),
            "`train: /home/them/set/images/train` of data.yaml leads nowhere",
        ),
        (lambda root: moved(root, "D:\\\\them\\\\set\\\\"), "leads nowhere here: images/test was taken, the end of it"),
        (
            lambda root: moved(root, "/"),
            "`train: /images/train` of data.yaml leads nowhere here: images/train was taken",
        ),
        (lambda root: moved(root, "../input/"), "`val: ../input/images/val` of data.yaml leads nowhere here"),
        (lambda root: moved(root, ".\\\\"), ""),
        (lambda root: (root / "data.yaml").open("a").write("nc: 5\n") and None, "says nc: 5, but names 2 classes"),
        (lambda root: shutil.copy(root / "data.yaml", root / "more.yaml") and None, "more.yaml are there too"),
    ],
)
def test_yolo_is_found_as_people_have_it(
    tmp_path: Path, yolo: Path, make_params: Any, change: Callable[[Path], None], note: str
) -> None:
    change(yolo)
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert note in " ".join(report["notes"])


def test_yaml_that_names_a_folder_beside_it(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    splits = "".join(f"{split}: images/{split}\n" for split in made.SPLITS)
    (yolo / "data.yaml").unlink()
    yolo.rename(tmp_path / "datasets")
    (tmp_path / "datasets").rename(tmp_path / "toy")
    (tmp_path / "my.yaml").write_text(f"path: ../datasets/toy\n{splits}names: [dog, car]\n")
    check(tmp_path / "out", prepare(make_params(path=str(tmp_path / "my.yaml"), source="auto"), tmp_path / "out"))


def test_val_that_is_train_is_said(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [dog, car]\n")
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert "8 images of `val` are in train too and stay there" in report["notes"]
    assert "the data set has no split val or test: cut off train by its share" in report["notes"]


def test_yolo_without_a_label_file_says_where_it_would_be(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    shutil.rmtree(yolo / "labels")
    with pytest.raises(DataError, match=r"none of the 12 images has a label file; .*/labels/train/a0\.txt"):
        prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")


@pytest.mark.parametrize("name", ["yolo", "voc"])
def test_sets_side_by_side_are_refused_by_name(tmp_path: Path, make_params: Any, name: str) -> None:
    for part in ("one", "two"):
        {"yolo": made.write_yolo, "voc": write_voc}[name](tmp_path / "in" / part)
    with pytest.raises(DataError, match=r"holds several data sets \(one.*, two.*\); point data.path at one of them"):
        prepare(make_params(path=str(tmp_path / "in"), source="auto"), tmp_path / "out")


def test_tasks_of_cvat_side_by_side_are_one_set(tmp_path: Path, make_params: Any) -> None:
    for part in ("one", "two"):
        made.write_cvat(tmp_path / "in" / part)
    report = prepare(make_params(path=str(tmp_path / "in"), source="auto"), tmp_path / "out")
    assert report["images"] == {"train": 16, "val": 4, "test": 4}
    assert (tmp_path / "out/JPEGImages/one-images-a0.jpg").is_file()


def test_an_image_that_is_listed_twice_is_refused(tmp_path: Path, coco: Path, make_params: Any) -> None:
    shutil.copy(coco / "annotations/instances_val2017.json", coco / "annotations/instances_more.json")
    with pytest.raises(DataError, match=r"a8\.jpg is listed in .*_more\.json and in .*_val2017\.json; keep one"):
        prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")


def test_files_of_coco_without_boxes_are_passed_over(tmp_path: Path, coco: Path, make_params: Any) -> None:
    for path in (coco / "annotations").iterdir():
        document = json.loads(path.read_text())
        notes = [{"image_id": each["image_id"], "caption": "a dog"} for each in document["annotations"]]
        captions = {"images": document["images"], "annotations": notes}
        path.with_name(path.name.replace("instances", "captions")).write_text(json.dumps(captions))
        for each in document["annotations"]:
            each["category_id"] = str(each["category_id"])
        path.with_name(path.name.replace("instances", "person_keypoints")).write_text(json.dumps(document))
        path.unlink()
    check(tmp_path / "out", prepare(make_params(path=str(coco), source="auto"), tmp_path / "out"))


def test_json_of_others_among_labelme_is_said(tmp_path: Path, make_params: Any) -> None:
    root = made.write_labelme(tmp_path / "in")
    (root / "a_meta.json").write_text('{"version": 1}')
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert "1 JSON files are none of LabelMe and were not read: a_meta.json ..." in report["notes"]


def test_pictures_are_taken_by_exact_name_then_case_then_suffix(tmp_path: Path) -> None:
    root = made.write_coco(tmp_path / "in")
    first = root / "train" / "a0.jpg"
    for name in ("A0.jpg", "a0.png"):
        shutil.copy(first, first.with_name(name))

    def image() -> str:
        (item,) = [each for each in read_layout(root, "coco", NO_SETS).items if re.fullmatch(r"(?i)a0", each.name)]
        assert item.image is not None
        return item.image.name

    assert image() == "a0.jpg"
    first.unlink()
    assert image() == "A0.jpg"
    first.with_name("A0.jpg").unlink()
    assert image() == "a0.png"


def test_boxes_that_stand_twice_are_said(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "labels/train/a0.txt").write_text(f"{made.yolo_row(0)}\n" * 2)
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert "1 boxes stand twice, of one class and with the same corners: 1 images, the first a0" in report["notes"]


def test_messages_on_archives_name_the_archive(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    shutil.rmtree(yolo / "labels")
    archive = shutil.make_archive(str(tmp_path / "mine"), "zip", yolo)
    with pytest.raises(
        DataError, match=rf"for {re.escape(archive)}/images/train/a0\.jpg it would be {re.escape(archive)}/"
    ):
        prepare(make_params(path=archive, source="auto"), tmp_path / "out")


def test_a_folder_of_no_layout_says_what_it_holds(tmp_path: Path) -> None:
    for i in range(5):
        made.image(tmp_path / "in" / f"a{i}.jpg", i)
    with pytest.raises(DataError, match=r"It holds 5 \.jpg; nothing says where boxes are"):
        read_layout(tmp_path / "in", "auto", NO_SETS)
    assert list(readers())[:5] == ["voc", "yolo", "coco", "cvat", "labelme"]


@pytest.mark.parametrize(
    ("shape", "degrees", "wanted"),
    [
        ("box", 90, (15, 8, 39, 28)),  # 20 x 24 px about (27, 18) becomes 24 x 20
        ("box", 30, (27 - 14.660254, 18 - 15.392305, 27 + 14.660254, 18 + 15.392305)),
        ("ellipse", 90, (15, 8, 39, 28)),
        ("ellipse", 30, (27 - 10.535654, 18 - 11.532563, 27 + 10.535654, 18 + 11.532563)),
    ],
)
def test_turned_shapes_of_cvat_become_what_holds_them_and_are_said(
    tmp_path: Path, make_params: Any, shape: str, degrees: int, wanted: tuple[float, ...]
) -> None:
    root = made.write_cvat(tmp_path / "in")
    file = root / "annotations.xml"
    old = '<box label="dog" occluded="0" xtl="4" ytl="6" xbr="24" ybr="30"/>'
    new = f'<box label="dog" rotation="{degrees}.0" xtl="17" ytl="6" xbr="37" ybr="30"/>'
    if shape == "ellipse":
        new = f'<ellipse label="dog" rotation="{degrees}.0" cx="27" cy="18" rx="10" ry="12"/>'
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    assert "1 shapes are turned: each became the upright box around it" in report["notes"]
    train = load_split(tmp_path / "out", "train")
    np.testing.assert_allclose(train.annotations[train.ids.index("a0")].boxes, [wanted], atol=0.01)


def test_what_roboflow_writes_above_all_categories_is_no_class(tmp_path: Path, coco: Path, make_params: Any) -> None:
    for file in (coco / "annotations").glob("*.json"):
        document = json.loads(file.read_text())
        kinds = [{**each, "supercategory": "things"} for each in document["categories"]]
        document["categories"] = [{"id": 0, "name": "things", "supercategory": "none"}, *kinds]
        file.write_text(json.dumps(document))
    report = prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert "category 'things' is what others are kinds of, without a box: no class" in report["notes"]
    document["annotations"][0]["category_id"] = 0  # a box of it makes it a class
    file.write_text(json.dumps(document))
    assert "things" in prepare(make_params(path=str(coco), source="auto"), tmp_path / "more")["classes"]


@pytest.mark.parametrize("kind", [str, float])
def test_category_ids_are_equal_if_they_read_alike(tmp_path: Path, coco: Path, make_params: Any, kind: Any) -> None:
    for file in (coco / "annotations").glob("*.json"):
        document = json.loads(file.read_text())
        document["categories"].append({"id": 0, "name": "things"})
        for each in document["categories"]:
            each["supercategory"] = "things"
        for each in document["annotations"]:
            each["category_id"] = kind(each["category_id"])
        file.write_text(json.dumps(document))
    check(tmp_path / "out", prepare(make_params(path=str(coco), source="auto"), tmp_path / "out"))


def test_categories_of_one_name_are_one_class_and_said(tmp_path: Path, coco: Path, make_params: Any) -> None:
    file = coco / "annotations/instances_train2017.json"
    document = json.loads(file.read_text())
    document["categories"].append({"id": 9, "name": "dog"})
    document["annotations"][0]["category_id"] = 9
    file.write_text(json.dumps(document))
    report = prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert "several categories of instances_train2017.json are called 'dog': they are one class" in report["notes"]


def test_outlines_without_boxes_become_boxes(tmp_path: Path, coco: Path, make_params: Any) -> None:
    count = 0
    for file in (coco / "annotations").glob("*.json"):
        document = json.loads(file.read_text())
        for each in document["annotations"]:
            x, y, w, h = each["bbox"]
            each |= {"bbox": [], "segmentation": [[x, y, x + w, y, x + w, y + h], [x, y + h, x, y]]}
            count += 1
        file.write_text(json.dumps(document))
    report = prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    what = "annotations have an outline and no bbox"
    assert f"{count} {what}: each became the upright box around it" in report["notes"]


def test_pictures_of_several_frames_and_of_unread_kinds_are_said(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    pillow = pytest.importorskip("PIL.Image")
    first, other = (pillow.open(yolo / f"images/train/a{i}.jpg") for i in (0, 1))
    first.save(yolo / "images/train/a0.webp", save_all=True, append_images=[other], lossless=True)
    (yolo / "images/train/a0.jpg").unlink()
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert "1 images hold several pictures, of which the first is used: a0" in report["notes"]
    (yolo / "images/train/a1.jpg").rename(yolo / "images/train/a1.avif")
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "less")
    reason = "image of 'a1' is a1.avif, of a kind that is not read"
    assert report["left_out"] == [{"name": "a1", "reason": reason, "boxes": 1}]
    for file in (yolo / "images/train").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"names no image to train on; 8 files of kind \.heic cannot be read"):
        prepare(make_params(path=str(yolo), source="auto"), tmp_path / "none")


def test_a_split_without_any_box_is_said(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    for file in (yolo / "labels/test").iterdir():
        file.write_text("")
    notes = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")["notes"]
    assert "split 'test' has no box at all: no metric can be measured" in notes
    assert "split 'val'" not in " ".join(notes)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("data.zip", "It holds 1 .zip; unpack what is packed inside"),
        ("boxes.csv", "It holds 1 .csv; tables and JSON of other tools are not read: export as COCO or VOC"),
    ],
)
def test_what_lies_in_a_folder_of_no_layout_has_a_way_out(
    tmp_path: Path, make_params: Any, path: str, said: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / path).touch()
    with pytest.raises(DataError, match=f"{re.escape(said)}$"):
        prepare(make_params(path=str(tmp_path / "in"), source="auto"), tmp_path / "out")


def test_pictures_inside_of_json_alone_are_refused_with_the_way_out(tmp_path: Path, make_params: Any) -> None:
    root = made.write_labelme(tmp_path / "in")
    for file in root.rglob("*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"imageData": "/9j/4AAQ"}))
        file.with_suffix(".jpg").unlink()
    with pytest.raises(
        DataError, match=r"a0\.jpg'\) is nowhere in .*in the JSON alone: LabelMe's `labelme_export_json`"
    ):
        prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
