"""LabelMe: one JSON with `shapes` beside every picture."""

import math
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from yoloslim.data.folders import walk
from yoloslim.data.layouts import Found, Item, Items, Reader, Wanted, register_dataset
from yoloslim.data.names import settle_class
from yoloslim.data.reading import (
    Box,
    Pictures,
    around,
    names_of,
    notes_on_outlines,
    number,
    refuse_twice,
    set_splits,
    split_of,
    whole,
)
from yoloslim.data.voc import RawAnnotation, RawObject
from yoloslim.documents import read_json_file
from yoloslim.errors import DataError

_HEAD = 2**20
_LOOKED_AT = 20
"""JSON files of a folder that are looked at for `shapes`."""
_NO_BOXES = ("line", "point", "linestrip", "points")
_UPRIGHT = ("rectangle", "mask")
"""Shapes whose points are the corners of an upright box."""


def find(path: Path) -> Path | None:
    """A folder with JSON files that hold `shapes`."""
    if not path.is_dir():
        return None
    jsons = (p for p in walk(path) if p.suffix.lower() == ".json")
    return path if any(map(_has_shapes, islice(jsons, _LOOKED_AT))) else None


def read(root: Path, wanted: Wanted) -> Found:
    """Read all of them; see `layouts.Found`."""
    del wanted
    pictures = Pictures(root)
    items = Items()
    found = Found("labelme", root, items)
    jsons = [p for p in walk(root) if p.suffix.lower() == ".json"]
    files = [p for p in jsons if _has_shapes(p) or pictures.beside(p)]
    if len(files) < len(jsons):
        other = next(p for p in jsons if p not in set(files)).relative_to(root)
        found.notes.append(f"{len(jsons) - len(files)} JSON files are none of LabelMe and were not read: {other} ...")
    lines = outlines = 0
    for name, file in zip(names_of(list(files), root), files, strict=True):
        raw: RawAnnotation | DataError
        image: Path | None = None
        count = 0
        try:
            document = _document(file)
            count = len(document["shapes"])
            image = _picture(document, file, pictures)
            lines += sum(shape.get("shape_type") in _NO_BOXES for shape in document["shapes"])
            raw = _raw(document, file)
            outlines += sum(shape.get("shape_type") not in (*_NO_BOXES, *_UPRIGHT) for shape in document["shapes"])
        except DataError as error:
            raw = error
        items.append(Item(name, image, file, raw, count if isinstance(raw, DataError) else 0))
    found.notes += notes_on_outlines(outlines, "polygons and circles are no boxes")
    if lines:
        found.notes.append(f"{lines} points and lines are no boxes and were left out")
    refuse_twice((item.image, item.file) for item in items)
    set_splits(found, [split_of(file, root) for file in files])
    found.unlabelled = pictures.unused(item.image for item in items)
    found.notes += pictures.notes()
    return found


def _has_shapes(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_HEAD).replace(b"\0", b"")
    return b'"shapes"' in head or b'"imagePath"' in head


def _document(file: Path) -> Mapping[str, Any]:
    document = read_json_file(file, DataError)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise DataError(f"{file} has no list `shapes`")
    if not all(isinstance(shape, dict) for shape in document["shapes"]):
        raise DataError(f"{file}: `shapes` holds something else than objects")
    return document


def _picture(document: Mapping[str, Any], file: Path, pictures: Pictures) -> Path:
    stated = document.get("imagePath")
    found = pictures.find(stated, file.parent) if isinstance(stated, str) and stated else None
    found = found or pictures.beside(file)
    if found is None:
        inside = (
            "; it is in the JSON alone: LabelMe's `labelme_export_json` writes it out"
            if document.get("imageData")
            else ""
        )
        raise DataError(f"image of {file} ('{str(stated)[:80]}') is nowhere in {pictures.root}{inside}")
    return found


def _raw(document: Mapping[str, Any], file: Path) -> RawAnnotation:
    try:
        shapes = [s for s in document["shapes"] if s.get("shape_type") not in _NO_BOXES]
        parts = tuple(RawObject(_label(shape), _box(shape), False, False, _written(shape)) for shape in shapes)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    return RawAnnotation(whole(document.get("imageWidth")), whole(document.get("imageHeight")), parts, "pixels")


def _label(shape: Mapping[str, Any]) -> str:
    name = settle_class(_written(shape))
    if not name:
        raise DataError("a shape has no label")
    return name


def _written(shape: Mapping[str, Any]) -> str:
    label = shape.get("label")
    return str(label) if isinstance(label, (str, int)) and not isinstance(label, bool) else ""


def _box(shape: Mapping[str, Any]) -> Box:
    points = shape.get("points")
    if not isinstance(points, list):
        raise DataError("a shape has no points")
    if shape.get("shape_type") == "circle":
        try:
            (cx, cy), (x, y) = ([number(v) for v in point] for point in points)
        except (ValueError, TypeError) as error:
            raise DataError("a circle is not a centre and a point on it") from error
        radius = math.hypot(x - cx, y - cy)
        return cx - radius, cy - radius, cx + radius, cy + radius
    return around(points)


register_dataset(Reader("labelme", "LabelMe: a JSON beside every picture", find, read))
