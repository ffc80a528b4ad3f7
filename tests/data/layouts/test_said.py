"""What is left out, guessed or read otherwise is counted and said, with the place where it stands."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.data.layouts import conftest as made
from tests.data.layouts.test_found import key_points
from tests.data.layouts.test_layouts import _change, check
from tests.data.layouts.test_malformed import write_voc
from yoloslim.data import layouts
from yoloslim.data.folders import walk
from yoloslim.data.prepare import prepare, read_layout
from yoloslim.errors import DataError

SPLITS = "train: images/train\nval: images/val\ntest: images/test\n"


def notes(report: dict[str, Any]) -> str:
    return "\n".join(report["notes"])


def test_boxes_of_a_label_file_that_cannot_be_read_count(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "labels/train/a0.txt").write_text("0 0.5 0.5 0.2 0.2\n-1 0.5 0.5 0.2 0.2\n\n1 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match="3 of 14 boxes cannot be used, more than 20%: 3 in images that were left out"):
        prepare(make_params(path=str(yolo), source="yolo"), tmp_path / "out")


def test_boxes_of_an_xml_that_cannot_be_read_count(tmp_path: Path, make_params: Any) -> None:
    xml = sorted((write_voc(tmp_path / "voc") / "Annotations").glob("*.xml"))[0]
    xml.write_text(xml.read_text().replace("</bndbox>", "</bndbx>"))
    report = prepare(make_params(path=str(tmp_path / "voc"), source="auto"), tmp_path / "out")
    assert [(item["name"], item["boxes"]) for item in report["left_out"]] == [("a0", 1)]


def test_an_image_whose_json_is_at_fault_is_left_out_once(tmp_path: Path, make_params: Any) -> None:
    root = made.write_labelme(tmp_path / "labelme")
    file = root / "train/a0.json"
    document = json.loads(file.read_text())
    document["shapes"][0]["label"] = None
    file.write_text(json.dumps(document))
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    assert [(item["name"], item["boxes"]) for item in report["left_out"]] == [("a0", 1)]
    assert report["images_without_xml"] == []


def test_outlines_in_label_files_are_said(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    x0, y0, x1, y1 = (v / s for v, s in zip(made.box_of(0), (64, 48, 64, 48), strict=True))
    (yolo / "labels/train/a0.txt").write_text(f"0 {x0} {y0} {x1} {y0} {x1} {y1} {x0} {y1}\n")
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert "1 rows are outlines of 3 or more points: each became the upright box around it" in report["notes"]


def test_outlines_of_labelme_and_cvat_are_said(tmp_path: Path, make_params: Any) -> None:
    root = made.write_labelme(tmp_path / "labelme")
    for number, file in enumerate(sorted(root.rglob("*.json"))[:3]):
        document = json.loads(file.read_text())
        (x0, y0), (x1, y1) = document["shapes"][0]["points"]
        document["shapes"][0] |= {"shape_type": "polygon", "points": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]}
        if number == 2:
            document["shapes"][0]["shape_type"] = None  # a polygon, as LabelMe before 3.3 writes it
        file.write_text(json.dumps(document))
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert "3 polygons and circles are no boxes: each became the upright box around it" in report["notes"]
    cvat = made.write_cvat(tmp_path / "cvat")
    count = sum(file.read_text().count("<polygon") for file in cvat.rglob("*.xml"))
    report = prepare(make_params(path=str(cvat), source="auto"), tmp_path / "out2")
    assert f"{count} polygons and ellipses are no boxes: each became the upright box around it" in report["notes"]


def test_key_points_that_are_not_used_are_counted(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    key_points(yolo)
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert "12 rows have key points behind their box, which are not used" in report["notes"]


def test_what_cvat_has_besides_boxes_is_counted(tmp_path: Path, make_params: Any) -> None:
    file = made.write_cvat(tmp_path / "cvat") / "annotations.xml"
    others = '<cuboid label="car" xtl1="1"/><skeleton label="man"><points label="1" points="3,4"/></skeleton>'
    file.write_text(file.read_text().replace("</image>", f'{others}<tag label="sunny"/></image>', 2))
    report = prepare(make_params(path=str(file.parent), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert "4 points, lines, masks, cuboids and skeletons are no boxes and were left out" in report["notes"]
    assert "2 tags, which say something of an image as a whole, were left out" in report["notes"]


def test_images_that_a_description_does_not_name_are_counted(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    description = "path: ../elsewhere\ntrain: images/train\nval: images/val\nnames: [dog, car]\n"
    (yolo / "data.yaml").write_text(description)
    (yolo / "images/test/plain.jpg").write_bytes((yolo / "images/test/a10.jpg").read_bytes())  # without labels
    notes = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")["notes"]
    said = "2 images with labels are in no split of data.yaml and were not used, such as images/test/a10.jpg"
    assert said in notes
    assert len(notes) == len(set(notes))


def test_a_document_type_is_said_in_words(tmp_path: Path, make_params: Any) -> None:
    xml = sorted((write_voc(tmp_path / "voc") / "Annotations").glob("*.xml"))[0]
    xml.write_text(f'<!DOCTYPE annotation SYSTEM "voc.dtd">{xml.read_text()}')
    report = prepare(make_params(path=str(tmp_path / "voc"), source="auto"), tmp_path / "out")
    reason = (
        "holds a document type (<!DOCTYPE ...>), which is not read, since it can make a file endless; delete that part"
    )
    assert [reason in item["reason"] for item in report["left_out"]] == [True]


def test_a_reader_that_somebody_registered_is_named_where_it_fails(
    tmp_path: Path, make_params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(root: Path, wanted: Any) -> Any:
        return {}[wanted.get("none", "nothing")]

    monkeypatch.setattr(layouts, "_READERS", dict(layouts._READERS))
    monkeypatch.setattr(layouts, "SOURCES", dict(layouts.SOURCES))
    reader = layouts.register_dataset(layouts.Reader("mine", "one line a box", lambda path: path, fails))
    with pytest.raises(
        DataError, match=r"layout mine, which .*KeyError: 'nothing' \(.*test_said\.py, line \d+\); mend it"
    ):
        read_layout(tmp_path, "mine", {})
    layouts.register_dataset(replace(reader, read=lambda root, wanted: None))  # type: ignore[arg-type,return-value]
    with pytest.raises(DataError, match=r"layout mine: `read` gave a NoneType, and no layouts\.Found"):
        read_layout(tmp_path, "mine", {})


def test_corners_where_yolo_has_centre_and_size_are_refused(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    for file in (yolo / "labels").rglob("*.txt"):
        file.write_text("0 0.1 0.1 0.3 0.3\n1 0.5 0.5 0.9 0.8\n0 0.6 0.6 0.95 0.9\n")
    with pytest.raises(DataError, match=r"24 of 36 boxes .* would fit as corners \(x1 y1 x2 y2\)"):
        prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"path: /content/set\n{SPLITS}names: [dog, car]\n", "`path: /content/set` of data.yaml does not lead to `ima"),
        (f"path: ../{{name}}\n{SPLITS}names: [dog, car]\n", ""),
        (f"path: .\n{SPLITS}names: [dog, car]\n", ""),
    ],
)
def test_path_that_leads_nowhere_is_said(tmp_path: Path, yolo: Path, make_params: Any, text: str, said: str) -> None:
    (yolo / "data.yaml").write_text(text.format(name=yolo.name))
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    check(tmp_path / "out", report)
    assert said in notes(report)
    assert bool(said) == ("does not lead" in notes(report))


def test_number_without_name_is_told_with_its_file(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "data.yaml").write_text(f"{SPLITS}names: {{0: dog, 3: car}}\n")
    match = r"names 2 classes, but labels use number 1 too, as .*/a11\.txt does; .* \(numbers 0, 3 have one\)"
    with pytest.raises(DataError, match=match):
        prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")


def test_missing_test_folder_has_a_way_out(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    shutil.rmtree(yolo / "images/test")
    with pytest.raises(
        DataError, match=r"`test: images/test` leads nowhere.*Without the key, test is a share of train"
    ):
        prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")


def test_links_to_nowhere_are_missing_images(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    image = yolo / "images/train/a0.jpg"
    image.unlink()
    image.symlink_to(tmp_path / "gone.jpg")
    (yolo / "images/train/more").symlink_to(tmp_path / "gone")
    assert [path.name for path in walk(yolo / "images/train")] == [f"a{i}.jpg" for i in range(8)]
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert [(item["name"], item["boxes"]) for item in report["left_out"]] == [("a0", 1)]
    assert "a0.jpg" in report["left_out"][0]["reason"]


def test_image_of_a_kind_that_is_not_read_is_named(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    (yolo / "images/train/a0.jpg").rename(yolo / "images/train/a0.ppm")
    report = prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    assert report["left_out"][0]["reason"] == "image of 'a0' is a0.ppm, of a kind that is not read"


def test_two_images_of_one_stem_are_told_apart(tmp_path: Path, yolo: Path, make_params: Any) -> None:
    shutil.copy(yolo / "images/train/a0.jpg", yolo / "images/train/a0.png")
    with pytest.raises(DataError, match=r"two images of one name: '.*/a0\.jpg' and '.*/a0\.png'"):
        prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")


def test_class_without_name_is_refused(tmp_path: Path, yolo: Path, coco: Path, make_params: Any) -> None:
    (yolo / "data.yaml").write_text(f"{SPLITS}names: ['', car]\n")
    with pytest.raises(DataError, match="has a class without a name"):
        prepare(make_params(path=str(yolo), source="auto"), tmp_path / "out")
    _change(coco, lambda document: document["categories"][0].update(name="\u200b"))
    with pytest.raises(DataError, match="has a class without a name"):
        prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")
    _change(coco, lambda document: document["categories"][0].update(name=None))
    with pytest.raises(DataError, match="a category is called None, which is no name"):
        prepare(make_params(path=str(coco), source="auto"), tmp_path / "out")


def listed(*names: str) -> Callable[[Path], None]:
    return lambda sets: (sets / "train.txt").write_text("".join(f"{name}\n" for name in names)) and None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (listed("a0", "a1", "nope"), "image set 'train' has 1 names without annotation, not used: 'nope'"),
        (listed("a8", "a9"), "train and val are the same image set: what val measures was learnt by heart"),
        (listed("a10", "a11"), "train and test are the same image set: what test measures was learnt by heart"),
    ],
)
def test_odd_image_sets_are_said(tmp_path: Path, make_params: Any, change: Callable[[Path], None], said: str) -> None:
    root = write_voc(tmp_path / "voc")
    change(root / "ImageSets/Main")
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    assert said in report["notes"]


def test_image_sets_without_their_folders_are_said(tmp_path: Path, make_params: Any) -> None:
    root = write_voc(tmp_path / "voc")
    (root / "JPEGImages").rename(root / "images")
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    assert "ImageSets was not used: it goes with Annotations and JPEGImages, called just so" in report["notes"]


def test_reasons_of_dropped_boxes_are_whole(tmp_path: Path, coco: Path, make_params: Any) -> None:
    for file in (coco / "annotations").iterdir():
        document = json.loads(file.read_text())
        for item in document["annotations"]:
            item["bbox"] = [500 + item["id"], 500, 5, 5] if item["id"] % 2 else [5, 5, 0.5, 20]
        file.write_text(json.dumps(document))
    with pytest.raises(DataError, match="6 shorter side is under min_box_px=1, 6 outside the image; first"):
        prepare(make_params(path=str(coco), source="auto", min_box_px=1.0), tmp_path / "out")


def test_path_that_is_not_there_is_missing_whatever_its_suffix(tmp_path: Path, make_params: Any) -> None:
    for name in ("set", "set.zip", "data.yaml", "boxes.json"):
        with pytest.raises(DataError, match=rf"data\.path .*{name} is missing; name a folder, an archive"):
            prepare(make_params(path=str(tmp_path / name), source="auto"), tmp_path / "out")
