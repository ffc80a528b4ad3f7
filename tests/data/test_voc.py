from pathlib import Path

import cv2
import numpy as np
import pytest

from yoloslim.data.voc import (
    annotation_from,
    load_split,
    parse_annotation,
    read_annotation,
    read_image,
    write_annotation,
)
from yoloslim.errors import DataError

CLASSES = ("car", "person")


def _xml(path: Path, body: str) -> Path:
    path.write_text(f"<annotation><size><width>8</width><height>6</height></size>{body}</annotation>")
    return path


def _object(name: str = "car", box: str = "<xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>6</ymax>") -> str:
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


def test_one_based_inclusive_boxes_become_half_open(tmp_path: Path) -> None:
    annotation = read_annotation(_xml(tmp_path / "a.xml", _object()), CLASSES)
    assert annotation.boxes.tolist() == [[0, 0, 8, 6]]
    assert (annotation.width, annotation.height, annotation.labels.tolist()) == (8, 6, [0])


def test_written_annotation_reads_back_equal(tmp_path: Path) -> None:
    wrote = annotation_from(640, 480, [(0, 0, 1, 1), (10.5, 3, 640, 480)], [1, 0], [True, False], [False, True])
    write_annotation(tmp_path / "a.xml", "a.jpg", wrote, CLASSES)
    read = read_annotation(tmp_path / "a.xml", CLASSES)
    for name in ("boxes", "labels", "difficult", "truncated"):
        np.testing.assert_array_equal(getattr(read, name), getattr(wrote, name))
    assert "<xmin>1</xmin>" in (tmp_path / "a.xml").read_text()


def test_annotation_without_objects_has_arrays_of_the_right_shape(tmp_path: Path) -> None:
    annotation = read_annotation(_xml(tmp_path / "a.xml", ""), CLASSES)
    assert annotation.boxes.shape == (0, 4)
    assert len(annotation) == 0


def test_boxes_of_body_parts_are_not_taken_for_the_object(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>3</xmin></bndbox></part>"
    path = _xml(tmp_path / "a.xml", _object().replace("<bndbox>", f"{part}<bndbox>"))
    assert [item.box for item in parse_annotation(path).objects] == [(1, 1, 8, 6)]


def test_unknown_class_names_file_and_nearest_class(tmp_path: Path) -> None:
    path = _xml(tmp_path / "a.xml", _object("Persn"))
    with pytest.raises(DataError, match=r"a\.xml names the class 'Persn'.*nearest known one is 'person'"):
        read_annotation(path, CLASSES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("<annotation><object>", "not well-formed"),
        ("<html></html>", "<html> where VOC has <annotation>"),
        ("<annotation><object><name>car</name></object></annotation>", "without a <bndbox>"),
        ("<annotation><object><bndbox/></object></annotation>", "without a <name>"),
        (f"<annotation>{_object(box='<xmin>nan</xmin>')}</annotation>", "<xmin> of an object 'car' is 'nan'"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "not well-formed"),
    ],
)
def test_broken_xml_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.xml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"broken\.xml") as caught:
        parse_annotation(path)
    assert message in str(caught.value)


def test_colours_come_out_as_rgb_for_every_kind_of_file(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "colour.png"), red)
    cv2.imwrite(str(tmp_path / "deep.png"), red.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "alpha.png"), cv2.cvtColor(red, cv2.COLOR_BGR2BGRA))
    for name in ("colour.png", "deep.png", "alpha.png"):
        assert read_image(tmp_path / name)[5, 5].tolist() == [255, 0, 0], name
    cv2.imwrite(str(tmp_path / "grey.jpg"), np.full((16, 16), 77, np.uint8))
    assert read_image(tmp_path / "grey.jpg")[5, 5].tolist() == [77, 77, 77]


def test_cmyk_and_turned_jpegs_are_read_as_stored(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("CMYK", (12, 8), (0, 0, 0, 0)).save(tmp_path / "cmyk.jpg")
    assert read_image(tmp_path / "cmyk.jpg").shape == (8, 12, 3)
    exif = pillow.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    pillow.new("RGB", (12, 8)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (8, 12, 3)


def test_jpeg_cut_anywhere_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    path = tmp_path / "cut.jpg"
    path.write_bytes(data + b"trailing bytes do no harm")
    assert read_image(path).shape == (64, 64, 3)
    for share in (0.01, 0.1, 0.5, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match=r"cut\.jpg"):
            read_image(path)


@pytest.mark.parametrize("data", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(DataError, match="no image that can be decoded"):
        read_image(tmp_path / "a.jpg")


def test_missing_split_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"classes\.txt is missing; run the stage `data`"):
        load_split(tmp_path, "val")
