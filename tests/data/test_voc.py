from pathlib import Path
from xml.etree.ElementTree import ElementTree, fromstring, indent

import numpy as np
import pytest

from yoloslim.data.voc import annotation_from, load_split, parse_annotation, read_annotation, write_annotation
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
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "holds a document type (<!DOCTYPE ...>)"),
    ],
)
def test_broken_xml_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.xml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"broken\.xml") as caught:
        parse_annotation(path)
    assert message in str(caught.value)


def test_missing_split_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"classes\.txt is missing; run the stage `data`"):
        load_split(tmp_path, "val")


def test_annotations_are_written_byte_by_byte_as_elementtree_would(tmp_path: Path) -> None:
    boxes = [(0.0, 1.5, 20.25, 30.0), (3.0, 4.0, 1234567.9, 12.0)]
    note = annotation_from(40, 31, boxes, [1, 0], [True, False], [False, True])
    write_annotation(tmp_path / "a.xml", "größe & <1>.jpg", note, ("cat & dog", "狗"))
    written = (tmp_path / "a.xml").read_bytes()
    tree = ElementTree(fromstring(written))
    indent(tree)
    tree.write(tmp_path / "b.xml", encoding="utf-8")
    assert written == (tmp_path / "b.xml").read_bytes()
    assert b"<xmin>1</xmin>" in written
    assert b"<ymin>2.5</ymin>" in written
    assert b"<difficult>1</difficult>" in written
    assert read_annotation(tmp_path / "a.xml", ("cat & dog", "狗")).labels.tolist() == [1, 0]
    write_annotation(tmp_path / "none.xml", "a.jpg", annotation_from(4, 4, [], [], [], []), ("cat",))
    assert (tmp_path / "none.xml").read_text().endswith("<segmented>0</segmented>\n</annotation>")
