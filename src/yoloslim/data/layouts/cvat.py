"""CVAT for images: one XML with an `<image>` of `<box>` and `<polygon>` for every picture."""

import re
from pathlib import Path
from xml.etree.ElementTree import Element

from yoloslim.data.folders import walk
from yoloslim.data.layouts import SPLIT_NAMES, Found, Item, Reader, Wanted, register_dataset
from yoloslim.data.names import settle_class
from yoloslim.data.reading import Box, Pictures, around, names_of, number, set_splits, split_of, whole
from yoloslim.data.voc import RawAnnotation, RawObject, read_xml
from yoloslim.errors import DataError


def find(path: Path) -> Path | None:
    """An XML file with `<annotations>`, or the folder that holds one."""
    if path.is_file():
        return path if _is_cvat(path) else None
    if not path.is_dir():
        return None
    return next((p for p in walk(path) if p.suffix.lower() == ".xml" and _is_cvat(p)), None)


def read(root: Path, wanted: Wanted) -> Found:
    """Read it; see `layouts.Found`.

    Raises:
        DataError: no XML, or none of its images.
    """
    del wanted
    tree = read_xml(root)
    pictures = Pictures(root.parent)
    found = Found("cvat", root.parent, [])
    images = tree.findall("image")
    if not images:
        raise DataError(f"{root} lists no <image>; export from CVAT as 'CVAT for images'")
    names = [image.get("name") or "" for image in images]
    for image, stated, name in zip(images, names, names_of(list(names), root.parent), strict=True):
        shapes = [item for item in image if item.tag in ("box", "polygon", "polyline", "ellipse", "points", "mask")]
        picture, raw = pictures.of(stated, root), _raw(image, shapes, root)
        if isinstance(picture, DataError):
            found.items.append(Item(name, None, root, picture, len(shapes)))
        else:
            found.items.append(Item(name, picture, root, raw, len(shapes) if isinstance(raw, DataError) else 0))
    listed = [settle_class(label.findtext("name") or "") for label in tree.iter("label")]
    used = {o.name for item in found.items if isinstance(item.raw, RawAnnotation) for o in item.raw.objects}
    found.classes = tuple(dict.fromkeys([*filter(None, listed), *sorted(used)])) if any(listed) else ()
    found.notes += pictures.notes()
    ignored = sum(item.tag in ("polyline", "points", "mask") for image in images for item in image)
    if ignored:
        found.notes.append(f"{ignored} points, lines and masks are no boxes and were left out")
    set_splits(found, [_split(image, stated, root) for image, stated in zip(images, names, strict=True)])
    return found


def _is_cvat(path: Path) -> bool:
    with path.open("rb") as stream:
        return re.search(rb"<annotations[\s>]", stream.read(2000).replace(b"\0", b"")) is not None


def _split(image: Element, stated: str, root: Path) -> str:
    return SPLIT_NAMES.get((image.get("subset") or "").lower(), "") or split_of(stated, root.parent)


def _raw(image: Element, shapes: list[Element], file: Path) -> RawAnnotation | DataError:
    try:
        parts = tuple(
            RawObject(_label(item), _box(item), False, False, item.get("label") or "")
            for item in shapes
            if item.tag in ("box", "polygon", "ellipse")
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


register_dataset(Reader("cvat", "CVAT for images: one XML", find, read))
