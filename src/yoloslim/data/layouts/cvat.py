"""CVAT for images: an XML a task, with an `<image>` of `<box>` and `<polygon>` for every picture."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from yoloslim.data.folders import walk
from yoloslim.data.layouts import SPLIT_NAMES, Found, Item, Items, Reader, Wanted, register_dataset
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
from yoloslim.data.xml_files import read_xml
from yoloslim.errors import DataError

_OUTLINES = ("polygon", "ellipse")
_BOXES = ("box", *_OUTLINES)
_OTHERS = ("polyline", "points", "mask", "cuboid", "skeleton")


def find(path: Path) -> Path | None:
    """An XML file with `<annotations>`, or a folder that holds some."""
    if path.is_file():
        return path if _is_cvat(path) else None
    return path if path.is_dir() and any(map(_is_cvat, _xmls(path))) else None


def read(root: Path, wanted: Wanted) -> Found:
    """Read all of them as one data set; see `layouts.Found`.

    Raises:
        DataError: no XML, or none of its images.
    """
    del wanted
    files = [root] if root.is_file() else [path for path in _xmls(root) if _is_cvat(path)]
    folder = root.parent if root.is_file() else root
    pictures = Pictures(folder)
    items = Items()
    found = Found("cvat", folder, items)
    rows: list[tuple[str, Path | DataError, RawAnnotation | DataError, Path, int]] = []
    splits, listed, ignored, turned, outlines, tags, tracked = [], [], 0, 0, 0, 0, 0
    for file in files:
        tree = read_xml(file)
        images, tracks = tree.findall("image"), tree.findall("track")
        tracked += len(tracks)
        if not images:
            what = f"is 'CVAT for video', {len(tracks)} tracks" if tracks else "lists no <image>"
            raise DataError(f"{file} {what}; export from CVAT as 'CVAT for images', which takes videos too")
        for entry in images:
            stated = entry.get("name") or ""
            shapes = [item for item in entry if item.tag in (*_BOXES, *_OTHERS)]
            ignored += sum(item.tag in _OTHERS for item in shapes)
            tags += len(entry.findall("tag"))
            turned += sum(item.get("rotation", "0").strip("0.") != "" for item in shapes)
            outlines += sum(item.tag in _OUTLINES for item in shapes)
            rows.append((stated, pictures.of(stated, file), _raw(entry, shapes, file), file, len(shapes)))
            splits.append(_split(entry, stated, folder))
        listed += [settle_class(label.findtext("name") or "") for label in tree.iter("label")]
    refuse_twice((image, file) for _, image, _, file, _ in rows)
    keys: list[Path | str] = [image if isinstance(image, Path) else stated for stated, image, *_ in rows]
    for name, (_, image, raw, file, count) in zip(names_of(keys, folder), rows, strict=True):
        if isinstance(image, DataError):
            items.append(Item(name, None, file, image, count))
        else:
            items.append(Item(name, image, file, raw, count if isinstance(raw, DataError) else 0))
    used = {name for item in items if isinstance(item.raw, RawAnnotation) for name in item.raw.names}
    found.classes = tuple(dict.fromkeys([*filter(None, listed), *sorted(used)])) if any(listed) else ()
    found.notes += pictures.notes()
    if ignored:
        found.notes.append(f"{ignored} points, lines, masks, cuboids and skeletons are no boxes and were left out")
    if tracked:
        found.notes.append(f"{tracked} tracks, as 'CVAT for video' has them, were left out")
    if tags:
        found.notes.append(f"{tags} tags, which say something of an image as a whole, were left out")
    found.notes += notes_on_outlines(turned, "shapes are turned")
    found.notes += notes_on_outlines(outlines, "polygons and ellipses are no boxes")
    set_splits(found, splits)
    found.unlabelled = pictures.unused(item.image for item in items)
    return found


def _xmls(folder: Path) -> Iterator[Path]:
    return (path for path in walk(folder) if path.suffix.lower() == ".xml")


def _is_cvat(path: Path) -> bool:
    with path.open("rb") as stream:
        return re.search(rb"<annotations[\s>]", stream.read(2000).replace(b"\0", b"")) is not None


def _split(image: Element, stated: str, folder: Path) -> str:
    return SPLIT_NAMES.get((image.get("subset") or "").lower(), "") or split_of(stated, folder)


def _raw(image: Element, shapes: list[Element], file: Path) -> RawAnnotation | DataError:
    try:
        parts = tuple(
            RawObject(_label(item), _box(item), False, False, item.get("label") or "")
            for item in shapes
            if item.tag in _BOXES
        )
        size = [whole(_float(image.get(key) or "0")) for key in ("width", "height")]
    except DataError as error:
        return DataError(f"{file}: image '{(image.get('name') or '')[:80]}': {error}")
    return RawAnnotation(size[0], size[1], parts, "pixels")


def _label(item: Element) -> str:
    name = settle_class(item.get("label") or "")
    if not name:
        raise DataError(f"a <{item.tag}> has no label")
    return name


def _box(item: Element) -> Box:
    """Corners of a shape, or of what holds it upright where it is turned about its centre."""
    x1, y1, x2, y2 = _unturned(item)
    angle = math.radians(_angle(item))
    cx, cy, width, height = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    if not angle:
        return x1, y1, x2, y2
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    if item.tag == "ellipse":
        w, h = math.hypot(width * cos, height * sin), math.hypot(width * sin, height * cos)
    else:
        w, h = width * cos + height * sin, width * sin + height * cos
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def _angle(item: Element) -> float:
    """Degrees by which a box or an ellipse is turned; 0 for a polygon."""
    return 0.0 if item.tag == "polygon" else _float(item.get("rotation") or "0") % 360


def _unturned(item: Element) -> Box:
    if item.tag == "polygon":
        return around([_float(v) for v in point.split(",")] for point in (item.get("points") or "").split(";"))
    if item.tag == "ellipse":
        cx, cy, rx, ry = (_float(item.get(key) or "") for key in ("cx", "cy", "rx", "ry"))
        return cx - rx, cy - ry, cx + rx, cy + ry
    x1, y1, x2, y2 = (_float(item.get(key) or "") for key in ("xtl", "ytl", "xbr", "ybr"))
    return x1, y1, x2, y2


def _float(text: str) -> float:
    try:
        return number(float(text))
    except ValueError as error:
        raise DataError(f"'{text[:40]}' stands where a number belongs") from error


register_dataset(Reader("cvat", "CVAT for images: an XML a task", find, read))
