"""What is written in the one form is read as a parser of any XML reads it; all else is left to that parser."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yoloslim.data import voc
from yoloslim.data.voc import annotation_from, parse_annotation, write_annotation
from yoloslim.data.voc_form import from_text
from yoloslim.errors import DataError

CLASSES = ("dog", "traffic light")


def written(path: Path, count: int = 20) -> bytes:
    rng = np.random.default_rng(count)
    boxes = rng.uniform(0, 40, (count, 4)) * rng.choice([1, 1e-3, 1e4], (count, 1))
    flags = rng.random((2, count)) < 0.5
    note = annotation_from(640, 480, boxes.tolist(), [i % 2 for i in range(count)], *map(list, flags))
    write_annotation(path, f"{path.stem}.jpg", note, CLASSES)
    return path.read_bytes()


def as_tuple(path: Path) -> tuple[Any, ...]:
    raw = parse_annotation(path)
    return raw.width, raw.height, raw.units, raw.filename, raw.objects


@pytest.mark.parametrize("count", [0, 1, 20])
def test_both_ways_of_reading_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    path = tmp_path / "a.xml"
    assert from_text(written(path, count)) is not None
    quick = as_tuple(path)
    assert len(quick[-1]) == count
    monkeypatch.setattr(voc, "from_text", lambda data: None)
    assert as_tuple(path) == quick


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"</annotation>", b"</annotation>\n"),
        (b"</annotation>", b""),
        (b"<object>", b"<Object>"),
        (b"<pose>Unspecified</pose>", b"<pose>Left</pose>"),
        (b"<name>dog<", b"<name>d\xc3\xb6g<"),
        (b"<name>dog<", b"<name>a&amp;b<"),
        (b"<xmin>", b"<xmin> "),
        (b"\n", b"\r\n"),
        (b"<depth>3<", b"<depth>1<"),
    ],
)
def test_other_xml_is_left_to_the_parser(tmp_path: Path, old: bytes, new: bytes) -> None:
    data = written(tmp_path / "a.xml")
    assert old in data
    assert from_text(data.replace(old, new, 1)) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [("1e400", "'1e400', not a finite number"), ("1e", "'1e', not a finite number"), ("x", "'x', not")],
)
def test_numbers_that_are_none_are_told(tmp_path: Path, value: str, message: str) -> None:
    path = tmp_path / "a.xml"
    text = written(path, 1).decode()
    path.write_text(text[: text.index("<xmin>") + 6] + value + text[text.index("</xmin>") :])
    with pytest.raises(DataError, match=message):
        parse_annotation(path)


def test_a_class_that_was_edited_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(written(path, 1).replace(b"<name>dog<", b"<name> big/dog <"))
    assert [(item.name, item.written) for item in parse_annotation(path).objects] == [("big_dog", " big/dog ")]
    path.write_bytes(path.read_bytes().replace(b"<name> big/dog <", b"<name> <"))
    with pytest.raises(DataError, match="an <object> without a <name>"):
        parse_annotation(path)
