"""COCO: one or several JSON files with `images`, `annotations` and `categories`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from yoloslim.data.folders import walk
from yoloslim.data.layouts import SPLIT_NAMES, Found, Item, Items, Reader, Wanted, register_dataset
from yoloslim.data.names import note_on_renamed, settle_class
from yoloslim.data.reading import (
    Box,
    Pictures,
    around,
    names_of,
    notes_on_outlines,
    number,
    refuse_twice,
    set_splits,
    whole,
)
from yoloslim.data.validation import MAX_PROBLEM_SHARE
from yoloslim.data.voc import RawAnnotation, RawObject
from yoloslim.documents import read_json_file
from yoloslim.errors import DataError

_HEAD = 2**16
_LONGEST = 19
"""Digits of ids that are taken for numbers."""
_LISTS = {
    "coordinates": "CreateML's list: export as COCO or VOC",
    "completed_by": "Label Studio's list: export as COCO or VOC",
    "'data'": "Label Studio's list: export as COCO or VOC",
    "score": "a list, as detectors write what they found",
}
"""What a list in a JSON file is by what its first entry holds."""
_BESIDE = ("annotations", "annotation", "labels")
"""Names of folders whose images lie beside the folder, not in it."""
_NO_BOXES = ("captions_", "image_info_", "panoptic_")
"""Beginnings of the names of COCO's other files."""


def find(path: Path) -> Path | None:
    """A JSON file with `images` or `annotations`, or a folder that holds one."""
    if path.is_file():
        return path if path.suffix.lower() == ".json" and not _is_labelme(path) else None
    return path if path.is_dir() and _files(path) else None


def read(root: Path, wanted: Wanted) -> Found:
    """Read all of them as one data set; see `layouts.Found`.

    Raises:
        DataError: JSON that is malformed or lacks one of its lists, or categories that differ between files.
    """
    del wanted
    files = [root] if root.is_file() else _files(root)
    folder = root.parent if root.is_file() else root
    pictures = Pictures(folder if root.is_dir() or folder.name.lower() not in _BESIDE else folder.parent)
    items = Items()
    found = Found("coco", pictures.root, items)
    rows: list[tuple[str, Path | DataError, RawAnnotation | DataError, Path, int]] = []
    splits: list[str] = []
    classes: dict[str, None] = {}
    roots: set[str] = set()
    used: set[str] = set()
    strays: list[Any] = []
    outlines = 0
    written: set[str] = set()
    for file in files:
        document = _document(file)
        names = _categories(document, file)
        classes |= dict.fromkeys(names.values())
        roots |= _roots(document)
        if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
            found.notes.append(f"several categories of {file.name} are called '{twice[0]}': they are one class")
        used |= {names.get(_id(item.get("category_id")), "") for item in document["annotations"]}
        outlines += sum(_is_outline(item) for item in document["annotations"])
        written |= {str(category["name"]) for category in document["categories"]}
        split = _split(file, folder)
        for entry, objects in _by_image(document, file, strays):
            stated = str(entry["file_name"])
            rows.append((stated, pictures.of(stated, file), _raw(entry, objects, names, file), file, len(objects)))
            splits.append(split)
    found.classes = tuple(name for name in classes if name in used or name not in roots)
    found.notes += [
        f"category '{name}' is what others are kinds of, without a box: no class"
        for name in classes
        if name not in found.classes
    ]
    refuse_twice((image, file) for _, image, _, file, _ in rows)
    keys: list[Path | str] = [image if isinstance(image, Path) else stated for stated, image, *_ in rows]
    for name, (_, image, raw, file, count) in zip(names_of(keys, pictures.root), rows, strict=True):
        if isinstance(image, DataError):
            items.append(Item(name, None, file, image, count))
        else:
            items.append(Item(name, image, file, raw, count if isinstance(raw, DataError) else 0))
    set_splits(found, splits)
    found.notes += pictures.notes() + note_on_renamed(written)
    found.notes += notes_on_outlines(outlines, "annotations have an outline and no bbox")
    if strays:
        total = len(strays) + sum(count for *_, count in rows)
        first = f"their image is not listed, the first image_id is {str(strays[0])[:40]!r}"
        found.notes.append(f"{len(strays)} of {total} annotations were left out: {first}")
        if len(strays) > MAX_PROBLEM_SHARE * total:
            raise DataError(f"{found.notes[-1]}; more than {MAX_PROBLEM_SHARE:.0%}, check the ids of {files[0]}")
    found.unlabelled = pictures.unused(item.image for item in items)
    return found


def _files(folder: Path) -> list[Path]:
    jsons = [p for p in walk(folder) if p.suffix.lower() == ".json"]
    instances = [p for p in jsons if p.name.startswith("instances_")]
    return instances or [p for p in jsons if not p.name.startswith(_NO_BOXES) and _looks_like_coco(p)]


def _looks_like_coco(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_HEAD).replace(b"\0", b"")
        stream.seek(max(0, path.stat().st_size - _HEAD))
        head += stream.read().replace(b"\0", b"")
    return (b'"images"' in head or b'"annotations"' in head) and b'"shapes"' not in head and b'"file_name"' in head


def _is_labelme(path: Path) -> bool:
    with path.open("rb") as stream:
        return b'"shapes"' in stream.read(_HEAD).replace(b"\0", b"")


def _document(file: Path) -> Mapping[str, Any]:
    document = read_json_file(file, DataError)
    if isinstance(document, list):
        what = next((what for key, what in _LISTS.items() if document and key in str(document[0])[:_HEAD]), "a list")
        raise DataError(f"{file} holds {what}; COCO has an object with `images`")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DataError(f"{file} has no list `{key}`; COCO has images, annotations and categories")
        if not all(isinstance(item, dict) for item in document[key]):
            raise DataError(f"{file}: `{key}` holds something else than objects")
    return document  # type: ignore[no-any-return]


def _categories(document: Mapping[str, Any], file: Path) -> dict[str, str]:
    """Id, as `_id` has it, -> class; by number, or as they stand there if ids are no numbers."""
    found: dict[str, str] = {}
    for place, category in enumerate(document["categories"]):
        name, key = category.get("name"), _id(category.get("id"))
        if "name" in category and (isinstance(name, bool) or not isinstance(name, (str, int))):
            raise DataError(f"{file}: a category is called {str(name)[:40]}, which is no name")
        if name is None or not key:
            shown = str(dict(islice(category.items(), 5)))[:80]
            raise DataError(f"{file}: a category lacks its `id` or `name`: categories[{place}] is {shown}")
        if key in found:
            both = " and ".join(repr(c["name"]) for c in document["categories"] if _id(c.get("id")) == key)
            raise DataError(f"{file}: the categories {both} have the id {key} both; give each its own")
        found[key] = settle_class(str(name))
    return dict(sorted(found.items(), key=lambda item: int(item[0]))) if all(map(_is_number, found)) else found


def _is_number(key: str) -> bool:
    return key.lstrip("-").isdecimal() and key.isascii()


def _id(value: Any) -> str:
    """An id as text, equal if they read alike: some tools write 1.0 or "1" for 1; empty where it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return ""
    text = str(value).strip()
    return str(int(text)) if _is_number(text) and len(text) < _LONGEST else text


def _roots(document: Mapping[str, Any]) -> set[str]:
    """Names that other categories give as their `supercategory`, as Roboflow writes one for all."""
    above = {
        settle_class(str(c.get("supercategory"))) for c in document["categories"] if c.get("supercategory") != c["name"]
    }
    return above & {settle_class(str(c["name"])) for c in document["categories"]}


def _split(file: Path, folder: Path) -> str:
    """The split that a file's name or a folder on the way to it tells."""
    words = file.relative_to(folder).with_suffix("").as_posix().lower()
    for mark in "_-./":
        words = words.replace(mark, " ")
    for word in words.split()[::-1]:
        plain = word.rstrip("0123456789")
        if plain in SPLIT_NAMES:
            return SPLIT_NAMES[plain]
    return ""


def _by_image(
    document: Mapping[str, Any], file: Path, strays: list[Any]
) -> Iterable[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """Images with their annotations; ids are equal if they read alike. `strays` gets the image ids of no image."""
    objects: dict[str, list[Mapping[str, Any]]] = {}
    for place, image in enumerate(document["images"]):
        key = _id(image.get("id"))
        if not key or not isinstance(image.get("file_name"), str):
            shown = str(dict(islice(image.items(), 5)))[:80]
            raise DataError(f"{file}: an image lacks its `id` or `file_name`: images[{place}] is {shown}")
        if key in objects:
            raise DataError(f"{file}: two images have the id {image['id']!r}")
        objects[key] = []
    for annotation in document["annotations"]:
        owner = objects.get(_id(annotation.get("image_id")))
        if owner is None:
            strays.append(annotation.get("image_id"))
        else:
            owner.append(annotation)
    return [(image, objects[_id(image["id"])]) for image in document["images"]]


def _raw(
    image: Mapping[str, Any], objects: list[Mapping[str, Any]], names: Mapping[str, str], file: Path
) -> RawAnnotation | DataError:
    try:
        parts = tuple(_object(item, names) for item in objects)
    except DataError as error:
        return DataError(f"{file}: image '{str(image['file_name'])[:80]}': {error}")
    return RawAnnotation(whole(image.get("width")), whole(image.get("height")), parts, "pixels")


def _object(item: Mapping[str, Any], names: Mapping[str, str]) -> RawObject:
    category = _id(item.get("category_id"))
    if category not in names:
        raise DataError(f"category_id {str(item.get('category_id'))[:40]!r} is not among the categories")
    return RawObject(names[category], _box(item), _is_set(item, "iscrowd") or _is_set(item, "ignore"), False)


def _is_set(item: Mapping[str, Any], flag: str) -> bool:
    """Whether a flag is 1, or what tools write for it; as text, "0" is not."""
    value = item.get(flag)
    return value.strip().lower() in ("1", "true", "yes") if isinstance(value, str) else bool(value)


def _is_outline(item: Mapping[str, Any]) -> bool:
    """Whether an annotation has no box, and polygons to take one from: lists of numbers, or the numbers of one."""
    outline = item.get("segmentation")
    return not item.get("bbox") and isinstance(outline, list) and bool(outline)


def _box(item: Mapping[str, Any]) -> Box:
    box = item.get("bbox")
    if _is_outline(item):
        outline = item["segmentation"]
        outline = outline if isinstance(outline[0], list) else [outline]
        return around((part[i], part[i + 1]) for part in outline for i in range(0, len(part) - 1, 2))
    if not box and isinstance(item.get("segmentation"), dict):
        raise DataError("it has a mask (RLE), which is not read, and no bbox; write the bbox, too")
    if not isinstance(box, list) or len(box) != 4:
        raise DataError(f"bbox {str(box)[:40]} is not x, y, width, height")
    x, y, width, height = map(number, box)
    return x, y, x + width, y + height


register_dataset(Reader("coco", "COCO: JSON with images, annotations and categories", find, read))
