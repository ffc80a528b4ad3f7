"""Sound and unsound data sets as people have them, through `prepare`."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from yoloslim.data.archives import extract
from yoloslim.data.images import read_image
from yoloslim.data.prepare import located, prepare
from yoloslim.data.summary import show
from yoloslim.data.voc import load_split
from yoloslim.errors import DataError

NAMED = {"train_set": "train", "val_set": "val", "test_set": "test"}


def _turned_set(root: Path, value: int, stated: str, make_voc: Any) -> None:
    """A red square at the top left of the upright picture, stored under an orientation."""
    make_voc(root, count=12, objects={f"a{i}": [("car", (1, 1, 12, 12))] for i in range(12)})
    upright = Image.new("RGB", (32, 24), (10, 10, 200))
    upright.paste((240, 20, 20), (0, 0, 12, 12))
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[value]
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = value
    for i in range(12):
        stored.save(root / "JPEGImages" / f"a{i}.jpg", exif=exif, quality=98 - i)
    if stated == "none":
        for path in (root / "Annotations").iterdir():
            path.write_text(path.read_text().replace("<width>32</width><height>24</height>", ""))


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("stated", ["upright", "none"])
def test_boxes_lie_on_turned_pictures(tmp_path: Path, make_voc: Any, make_params: Any, value: int, stated: str) -> None:
    _turned_set(tmp_path / "in", value, stated, make_voc)
    report = prepare(make_params(path=str(tmp_path / "in")), tmp_path / "out")
    split = load_split(tmp_path / "out", "train")
    for i in range(len(split)):
        pixels = read_image(split.image_path(i))
        assert pixels.shape == (24, 32, 3)
        assert pixels[:11, :11, 0].min() > 200
    assert any("turned upright" in note for note in report["notes"]) == (value != 1)
    tells = value in (1, 5, 6, 7, 8) and stated == "upright"
    assert any("LOOK AT THEM" in note for note in report["notes"]) == (not tells and value != 1)


def test_boxes_of_stored_pixels_leave_pictures_unturned(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in")
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(12):
        Image.new("RGB", (32, 24), (i, i, i)).save(root / "JPEGImages" / f"a{i}.jpg", exif=exif)
    report = prepare(make_params(path=str(root)), tmp_path / "out")
    assert read_image(load_split(tmp_path / "out", "train").image_path(0)).shape == (24, 32, 3)
    assert any("belong to the pixels as stored" in note for note in report["notes"])
    assert report["converted_to_jpeg"] == 0


def test_side_files_are_ignored_in_folders_and_archives(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in")
    for name in ("Annotations/._a0.xml", "JPEGImages/._a0.jpg", "Annotations/.DS_Store", "JPEGImages/Thumbs.db"):
        (root / name).write_bytes(b"\0\5\x16\7")
    (root / "__MACOSX" / "Annotations").mkdir(parents=True)
    (root / "__MACOSX" / "JPEGImages").mkdir()
    plain = prepare(make_params(path=str(root)), tmp_path / "out")
    assert plain["images"] == {"train": 8, "val": 2, "test": 2}
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        for path in sorted(root.rglob("*")):
            packed.write(path, Path("top") / path.relative_to(root))
    zipped = prepare(make_params(path=str(tmp_path / "in.zip")), tmp_path / "zip")
    assert zipped["images"] == plain["images"]
    assert zipped["boxes"] == plain["boxes"]


def test_reversed_boxes_are_swapped_and_told(tmp_path: Path, make_voc: Any, make_params: Any, capsys: Any) -> None:
    objects = {f"a{i}": [("car", (20, 18, 2, 3))] for i in range(12)}
    report = prepare(make_params(path=str(make_voc(tmp_path / "in", objects=objects))), tmp_path / "out")
    assert load_split(tmp_path / "out", "train").annotations[0].boxes.tolist() == [[1, 2, 20, 18]]
    assert len(report["swapped_boxes"]) == 12
    show(report)
    out = capsys.readouterr().out
    assert "swapped" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([(0.1, 0.2, 0.5, 0.6)], "look like shares of the image"),
        ([(20, 12, 8, 6), (3, 3, 9, 9)], "fit as x, y, width, height"),
        ([(5, 5, 5, 9), (1, 1, 9, 9)], r"12 of 24 boxes cannot be used, more than 20%: 12 zero area; first: a0\.xml"),
    ],
)
def test_systematically_broken_boxes_are_refused(
    tmp_path: Path, make_voc: Any, make_params: Any, boxes: list[tuple[float, ...]], message: str
) -> None:
    objects = {f"a{i}": [("car", box) for box in boxes] for i in range(12)}
    with pytest.raises(DataError, match=message):
        prepare(make_params(path=str(make_voc(tmp_path / "in", objects=objects))), tmp_path / "out")


def test_small_boxes_as_x_y_width_height_are_refused_though_they_look_reversed(
    tmp_path: Path, make_voc: Any, make_params: Any
) -> None:
    objects = {f"a{i}": [("car", (8 + x, 9, 4, 5)) for x in range(10)] for i in range(12)}
    with pytest.raises(DataError, match="120 of 120 boxes end before they begin, and all of them would fit as x, y"):
        prepare(make_params(path=str(make_voc(tmp_path / "in", objects=objects))), tmp_path / "out")


def test_small_boxes_that_were_asked_away_do_not_count(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    objects = {f"a{i}": [("car", (1, 1, 4, 4)), ("car", (1, 1, 20, 20))] for i in range(12)}
    report = prepare(make_params(path=str(make_voc(tmp_path / "in", objects=objects)), min_box_px=8), tmp_path / "out")
    assert len(report["dropped_boxes"]) == 12


def test_training_without_any_box_is_refused(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    objects: dict[str, Any] = {f"a{i}": [] for i in range(8)}
    sets = {
        "train": [f"a{i}" for i in range(8)],
        "val": ["a8", "a9"],
        "test": ["a10", "a11"],
    }
    root = make_voc(tmp_path / "in", objects=objects, sets=sets)
    with pytest.raises(DataError, match="split 'train' has no box at all"):
        prepare(make_params(path=str(root), **NAMED), tmp_path / "out")


def test_classes_without_training_boxes_and_near_equal_ones_are_noted(
    tmp_path: Path, make_voc: Any, make_params: Any
) -> None:
    sets = {"train": [f"a{i}" for i in range(8)], "val": ["a8", "a9"], "test": ["a10", "a11"]}
    root = make_voc(tmp_path / "in", objects={"a8": [("Car", (2, 3, 20, 18))]}, sets=sets)
    notes = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")["notes"]
    assert "nearly equal class names, are they one? 'Car', 'car'" in notes
    said = "1 of 2 classes have no training box and cannot be found: 'Car'"
    assert f"{said}; 1 of them have boxes in val or test, and count as 0 in the means there" in notes


def test_classes_that_are_written_otherwise_are_noted(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    sets = {"train": [f"a{i}" for i in range(8)], "val": ["a8", "a9"], "test": ["a10", "a11"]}
    objects = {f"a{i}": [(name, (2, 3, 20, 18))] for i, name in enumerate(("a/b", "#x", " car "))}
    root = make_voc(tmp_path / "in", objects=objects, sets=sets)
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    assert report["classes"] == ["_x", "a_b", "car"]
    assert "2 class names are written otherwise here: '_x' for '#x', 'a_b' for 'a/b'" in report["notes"]


def test_set_wide_range_scales_pictures_of_many_bits(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in")
    for i in range(12):
        (root / "JPEGImages" / f"a{i}.jpg").unlink()
        pixels = np.full((24, 32), 1000 + i, np.uint16)
        pixels[0, 0] = 4095 if i == 0 else 1000
        cv2.imwrite(str(root / "JPEGImages" / f"a{i}.png"), pixels)
    report = prepare(make_params(path=str(root)), tmp_path / "out")
    split = load_split(tmp_path / "out", "train")
    assert all(abs(int(read_image(split.image_path(i))[12, 16, 0]) - 62) <= 2 for i in range(len(split)))
    assert any("scaled from 0 to 4095" in note for note in report["notes"])


def test_subfolders_are_read_and_equal_names_refused(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", sets={"train": ["cam/a0", *(f"a{i}" for i in range(1, 8))]})
    for kind, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (root / kind / "cam").mkdir()
        (root / kind / f"a0.{suffix}").rename(root / kind / "cam" / f"a0.{suffix}")
    report = prepare(make_params(path=str(root)), tmp_path / "out")
    assert sum(report["images"].values()) == 12
    report = prepare(make_params(path=str(root), train_set="train"), tmp_path / "set")
    assert sum(report["images"].values()) == 8
    for kind, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (root / kind / f"a0.{suffix}").write_bytes((root / kind / "cam" / f"a0.{suffix}").read_bytes())
    with pytest.raises(DataError, match=r"two annotations are called 'a0': .*a0\.xml and .*cam/a0\.xml"):
        prepare(make_params(path=str(root)), tmp_path / "no")


def test_two_images_of_one_stem_are_refused_unless_the_annotation_names_one(
    tmp_path: Path, make_voc: Any, make_params: Any
) -> None:
    root = make_voc(tmp_path / "in")
    cv2.imwrite(str(root / "JPEGImages" / "a0.png"), np.full((24, 32, 3), 200, np.uint8))
    with pytest.raises(DataError, match=r"two images of one name for a0\.xml"):
        prepare(make_params(path=str(root)), tmp_path / "out")
    xml = root / "Annotations" / "a0.xml"
    xml.write_text(xml.read_text().replace("<annotation>", "<annotation><filename>a0.png</filename>"))
    assert prepare(make_params(path=str(root)), tmp_path / "out")["converted_to_jpeg"] == 1


def test_composed_and_decomposed_names_and_odd_suffixes_meet(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    sets = {"train": ["caf\u00e9", *(f"a{i}" for i in range(2, 8))], "val": ["a8", "a9"], "test": ["a10", "a11"]}
    root = make_voc(tmp_path / "in", sets=sets)
    (root / "Annotations" / "a0.xml").rename(root / "Annotations" / "cafe\u0301.xml")
    (root / "JPEGImages" / "a0.jpg").rename(root / "JPEGImages" / "caf\u00e9.jfif")
    (root / "Annotations" / "a8.xml").rename(root / "Annotations" / "a8.XML")
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    assert report["left_out"] == []
    assert "caf\u00e9" in load_split(tmp_path / "out", "train").ids


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_marked_lists_with_blanks_and_flags_are_read(
    tmp_path: Path, make_voc: Any, make_params: Any, codec: str
) -> None:
    root = make_voc(tmp_path / "in")
    for kind, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (root / kind / f"a0.{suffix}").rename(root / kind / f"photo 0.{suffix}")
    (root / "ImageSets" / "Main" / "train.txt").write_bytes("photo 0  1\na1 -1\n".encode(codec))
    (root / "ImageSets" / "Main" / "val.txt").write_bytes("a2\n".encode(codec))
    (root / "ImageSets" / "Main" / "test.txt").write_bytes("a3.jpg\n".encode(codec))
    report = prepare(make_params(path=str(root), **NAMED), tmp_path / "out")
    assert load_split(tmp_path / "out", "train").ids == ("photo_0", "a1")
    assert any("'photo_0' for 'photo 0'" in note for note in report["notes"])


def test_difficult_is_read_as_people_write_it(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in")
    for path in (root / "Annotations").iterdir():
        path.write_text(path.read_text().replace("</name>", "</name><difficult>True</difficult>"))
    report = prepare(make_params(path=str(root)), tmp_path / "out")
    assert report["boxes_difficult"]["train"] == report["boxes_total"]["train"]


def test_one_bad_file_is_left_out_and_its_boxes_are_counted(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in", count=40)
    notes = root / "Annotations"
    (notes / "a0.xml").write_bytes(b'<?xml version="1.0" encoding="klingon"?><annotation/>')
    (notes / "a1.xml").write_text((notes / "a1.xml").read_text().replace("<width>32", "<width>" + "9" * 5000))
    (notes / "a2.xml").write_text((notes / "a2.xml").read_text().replace("<xmin>2", "<xmin>" + "9" * 5000))
    (notes / "a3.xml").write_bytes(b"<a>" * 100_000)
    (root / "JPEGImages" / "a4.jpg").write_bytes(b"\xff\xd8\xff")
    report = prepare(make_params(path=str(root)), tmp_path / "out")
    reasons = {item["name"]: item["reason"] for item in report["left_out"]}
    assert sorted(reasons) == ["a0", "a2", "a3", "a4"]
    assert "'klingon', which does not exist" in reasons["a0"]
    assert len(reasons["a2"]) < 200
    assert {item["name"]: item.get("boxes") for item in report["left_out"]}["a4"] == 1


def test_names_that_are_not_utf8_are_settled(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in")
    for kind, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (root / kind / f"a0.{suffix}").rename(Path(str(root / kind) + f"/\udcff\udcfe.{suffix}"))
    report = prepare(make_params(path=str(root)), tmp_path / "out")
    assert sum(report["images"].values()) == 12
    assert (tmp_path / "out" / "JPEGImages" / "_ff_fe.jpg").is_file()


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2"])
def test_compressed_tar_is_read_to_its_checksum(tmp_path: Path, make_voc: Any, make_params: Any, kind: str) -> None:
    root = make_voc(tmp_path / "in")
    archive = tmp_path / f"in.tar.{kind}"
    with tarfile.open(archive, f"w:{kind}") as tar:
        tar.add(root, "top")
    data = archive.read_bytes()
    prepare(make_params(path=str(archive)), tmp_path / "out")
    for place in (len(data) - 6, len(data) // 2, len(data) // 3):
        archive.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        with pytest.raises(DataError, match="is damaged"):
            prepare(make_params(path=str(archive)), tmp_path / "no")


def test_deep_archive_members_and_folders_are_refused(tmp_path: Path, make_params: Any) -> None:
    with tarfile.open(tmp_path / "deep.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a/" * 2000 + "b.jpg"), io.BytesIO())
    with pytest.raises(DataError, match="folders deep"):
        prepare(make_params(path=str(tmp_path / "deep.tar")), tmp_path / "out")
    (tmp_path / "in" / "/".join(["d"] * 200)).mkdir(parents=True)
    with pytest.raises(DataError, match="more than 24 deep"):
        prepare(make_params(path=str(tmp_path / "in")), tmp_path / "out")


def test_harmless_link_becomes_a_copy_and_an_idle_one_is_told(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    root = make_voc(tmp_path / "in")
    (root / "JPEGImages" / "a0.jpg").rename(root / "JPEGImages" / "store.jpg")
    (root / "JPEGImages" / "a0.jpg").symlink_to("store.jpg")
    (root / "latest").symlink_to("JPEGImages")
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        tar.add(root, "top")
    report = prepare(make_params(path=str(tmp_path / "in.tar")), tmp_path / "out")
    assert sum(report["images"].values()) == 12
    assert any("1 links in the archive lead to no file" in note for note in report["notes"])


def test_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.tgz", "wb") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("zeros")
        member.size = 10**7
        tar.addfile(member, io.BytesIO(bytes(10**7)))
    with pytest.raises(DataError, match="unpacks to"):
        extract(tmp_path / "a.tgz", tmp_path / "out", max_bytes=1000)


def test_relative_path_is_found_from_a_temporary_copy_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmpabc"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert located(Path("photos")) == tmp_path / "photos"
    assert located(Path("nowhere")) == Path("nowhere")
