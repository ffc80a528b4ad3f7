"""The Pascal VOC layout on disk: annotations as XML, images as JPEG, splits as lists of names.

A *prepared folder* is what the stage `data` writes and every later stage reads: `JPEGImages/<id>.jpg`,
`Annotations/<id>.xml`, `ImageSets/Main/{train,val,test}.txt`, `classes.txt` (one class a line), `report.json`.

VOC counts pixels from 1 and includes the last one; this project counts from 0 and excludes it (see `boxes`).
So `xmin, ymin, xmax, ymax` in a file is `xmin - 1, ymin - 1, xmax, ymax` in memory.
"""

import difflib
import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.names import settle_class
from yoloslim.data.voc_form import from_text, to_text
from yoloslim.data.xml_files import read_bytes, root_of
from yoloslim.errors import DataError

SPLITS = ("train", "val", "test")
"""Names of the splits of a prepared folder."""

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""The 20 classes of Pascal VOC 2007, in the order of its development kit."""

Units = Literal["voc", "pixels", "shares"]


@dataclass(frozen=True, eq=False, slots=True)
class Annotation:
    """The boxes of one image.

    Attributes:
        width: image columns in pixels.
        height: image rows in pixels.
        boxes: (n, 4) float32, `xyxy` in pixels, 0-based and half-open.
        labels: (n,) int64, indices into the classes.
        difficult: (n,) bool, boxes that evaluation neither asks for nor punishes.
        truncated: (n,) bool, boxes whose object goes on outside the image.
    """

    width: int
    height: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class RawObject:
    """One object as written: a settled class name and an unchecked box, in the units of its `RawAnnotation`."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool
    truncated: bool
    written: str = ""
    """The class as the file has it; empty where it says what `name` does, or only a number."""


class RawAnnotation:
    """The objects of one image as a file has them, packed: a set of a hundred thousand images is held at once.

    Attributes:
        width: of the image as the file states it, px; 0 where it does not.
        height: likewise.
        units: of the boxes: `voc` (pixels from 1, inclusive), `pixels` (from 0, half-open), `shares` of the sides.
        filename: of the image as the file states it; empty where it does not.
        corners: of all boxes, four numbers each.
        names: of the class of each, settled.
        written: of the class of each as the file has it, see `RawObject`; empty where none differs.
    """

    __slots__ = ("_flags", "corners", "filename", "height", "names", "units", "width", "written")

    def __init__(
        self, width: int, height: int, objects: Iterable[RawObject], units: Units = "voc", filename: str = ""
    ) -> None:
        """Pack them."""
        objects = tuple(objects)
        self.width, self.height, self.units, self.filename = width, height, units, filename
        self.names = tuple(sys.intern(item.name) for item in objects)
        self.corners = array("d", [corner for item in objects for corner in item.box])
        self._flags = bytes(item.difficult + 2 * item.truncated for item in objects)
        written = tuple(sys.intern(item.written) for item in objects)
        self.written = written if any(written) else ()

    def plain(self) -> tuple[Any, ...]:
        """As plain values, which `of` takes."""
        size = int(self.width), int(self.height)
        return (*size, self.names, self.corners.tobytes(), self._flags, self.written, self.units, self.filename)

    @classmethod
    def of(cls, plain: tuple[Any, ...]) -> "RawAnnotation":
        """From what `plain` gave."""
        raw = cls.__new__(cls)
        raw.width, raw.height, raw.names, corners, raw._flags, raw.written, raw.units, raw.filename = plain
        raw.corners = array("d", corners)
        return raw

    def __len__(self) -> int:
        return len(self.names)

    @property
    def objects(self) -> tuple[RawObject, ...]:
        """As written."""
        corners = iter(self.corners)
        rows = zip(self.names, zip(*[corners] * 4, strict=True), self._flags, strict=True)
        return tuple(
            RawObject(name, box, bool(flags & 1), bool(flags & 2), self.written[i] if self.written else "")
            for i, (name, box, flags) in enumerate(rows)
        )


@dataclass(frozen=True)
class VocSplit:
    """One split of a prepared folder; `ids` and `annotations` run in step."""

    root: Path
    split: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    annotations: tuple[Annotation, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def image_path(self, index: int) -> Path:
        """Path of the JPEG of image `index`."""
        return self.root / "JPEGImages" / f"{self.ids[index]}.jpg"


def annotation_from(
    width: int,
    height: int,
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    difficult: Sequence[bool],
    truncated: Sequence[bool],
) -> Annotation:
    """Make an `Annotation` from plain sequences; empty ones give arrays of the right shape."""
    return Annotation(
        width,
        height,
        np.array(boxes, np.float32) if len(boxes) else np.zeros((0, 4), np.float32),  # reshaped it would be two objects
        np.array(labels, np.int64),
        np.array(difficult, np.bool_),
        np.array(truncated, np.bool_),
    )


def parse_annotation(path: Path) -> RawAnnotation:
    """Read an XML file as written, without judging classes or boxes.

    Raises:
        DataError: missing, empty, malformed, no VOC annotation, or an object without name or numbers.
    """
    data = read_bytes(path)
    own = from_text(data)
    if own is not None:
        names = [_settled(name, path) for name, *_ in own.rows]
        rows = zip(names, own.rows, strict=True)
        parts = (RawObject(name, *row[1:], "" if name == row[0] else row[0]) for name, row in rows)
        return RawAnnotation(*own.size, parts, "voc", own.filename.strip())
    root = root_of(data, path)
    if root.tag != "annotation":
        raise DataError(f"{path} holds <{root.tag[:40]}> where VOC has <annotation>")
    if strange := [item.tag for item in root if item.tag != "object" and item.find("bndbox") is not None]:
        raise DataError(f"{path} has a <bndbox> in <{strange[0][:40]}>, where VOC has <object>")
    objects = tuple(_parse_object(item, path) for item in root.findall("object"))
    filename = (root.findtext("filename") or "").strip()
    return RawAnnotation(_size(root, "width"), _size(root, "height"), objects, "voc", filename)


def read_annotation(path: Path, classes: Sequence[str]) -> Annotation:
    """Read an XML file whose boxes are known to be sound, such as one of a prepared folder.

    Raises:
        DataError: as `parse_annotation`, and a class that is not in `classes` (names the nearest).
    """
    raw = parse_annotation(path)
    objects = raw.objects
    labels = [class_index(item.name, classes, path) for item in objects]
    boxes = [half_open(item.box) for item in objects]
    difficult = [item.difficult for item in objects]
    truncated = [item.truncated for item in objects]
    return annotation_from(raw.width, raw.height, boxes, labels, difficult, truncated)


def half_open(box: Sequence[float]) -> tuple[float, float, float, float]:
    """Turn a box as VOC writes it (1-based, inclusive) into one as this project holds it."""
    return box[0] - 1, box[1] - 1, box[2], box[3]


def class_index(name: str, classes: Sequence[str], path: Path) -> int:
    """Position of `name` in `classes`.

    Raises:
        DataError: the class is unknown; the message names the file and the nearest known class.
    """
    if name in classes:
        return classes.index(name)
    lower = {known.lower(): known for known in classes}
    nearest = difflib.get_close_matches(name.strip().lower(), lower, n=1, cutoff=0.0)
    hint = f"; the nearest known one is '{lower[nearest[0]]}'" if nearest else ""
    raise DataError(f"{path} names the class '{name}', which is not among the {len(classes)} classes{hint}")


def write_annotation(path: Path, filename: str, annotation: Annotation, classes: Sequence[str]) -> None:
    """Write VOC XML for the image `filename`."""
    flags = zip(annotation.difficult.tolist(), annotation.truncated.tolist(), strict=True)
    boxes = ((x0 + 1, y0 + 1, x1, y1) for x0, y0, x1, y1 in annotation.boxes)
    rows = ((classes[k], box, *pair) for k, box, pair in zip(annotation.labels, boxes, flags, strict=True))
    text = to_text(filename, (annotation.width, annotation.height), rows)
    path.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")


def load_split(root: Path, split: str) -> VocSplit:
    """Read the classes, names and annotations of one split of a prepared folder.

    Raises:
        DataError: the folder or split is missing, or an annotation is broken.
    """
    classes_file, names_file = root / "classes.txt", root / "ImageSets" / "Main" / f"{split}.txt"
    for file in (classes_file, names_file):
        if not file.is_file():
            raise DataError(f"{file} is missing; run the stage `data` first (`dvc repro data`)")
    classes = tuple(classes_file.read_text(encoding="utf-8").splitlines())
    ids = tuple(names_file.read_text(encoding="utf-8").splitlines())
    annotations = tuple(read_annotation(root / "Annotations" / f"{name}.xml", classes) for name in ids)
    return VocSplit(root, split, classes, ids, annotations)


def _parse_object(item: Element, path: Path) -> RawObject:
    written = item.findtext("name") or ""
    name = _settled(written, path)
    corners = item.find("bndbox")  # a direct child: VOC's <part> elements have boxes of their own
    if corners is None:
        turned = "; a turned <robndbox> is not read" if item.find("robndbox") is not None else ""
        raise DataError(f"{path} has an <object> '{name}' without a <bndbox>{turned}")
    xmin, ymin, xmax, ymax = (_number(corners, tag, name, path) for tag in ("xmin", "ymin", "xmax", "ymax"))
    if len(item.findall("bndbox")) > 1:
        raise DataError(f"{path} has an <object> '{name}' with several <bndbox>; give each an <object> of its own")
    flags = _flag(item, "difficult"), _flag(item, "truncated")
    return RawObject(name, (xmin, ymin, xmax, ymax), *flags, "" if written == name else written)


def _settled(written: str, path: Path) -> str:
    name = settle_class(written)
    if not name:
        raise DataError(f"{path} has an <object> without a <name>")
    return name


def _number(corners: Element, tag: str, name: str, path: Path) -> float:
    text = (corners.findtext(tag) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}: <{tag}> of an object '{name}' is '{text[:40]}', not a finite number")
    return value


def _flag(item: Element, tag: str) -> bool:
    return (item.findtext(tag) or "").strip().lower() in ("1", "1.0", "true", "yes")


def _size(root: Element, tag: str) -> int:
    text = (root.findtext(f"size/{tag}") or "").strip().removesuffix(".0")
    return int(text) if text.isdecimal() and len(text) < 9 else 0
