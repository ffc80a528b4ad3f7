"""YOLO: a `data.yaml` or Darknet's `.data`, images, and a text file an image: `class x y width height`, in shares."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from yoloslim.data.folders import is_image, is_side_file, is_unread, unread_pictures, walk
from yoloslim.data.layouts import SPLIT_NAMES, Found, Item, Items, Reader, Wanted, register_dataset
from yoloslim.data.names import note_on_renamed, settle_class
from yoloslim.data.packed import Paths
from yoloslim.data.reading import names_of, notes_on_outlines, notes_on_unread, set_splits, split_of
from yoloslim.data.voc import RawAnnotation, RawObject
from yoloslim.data.yolo_description import (
    NAME_FILES,
    class_names,
    described_images,
    descriptions,
    names_alone,
    read_description,
)
from yoloslim.data.yolo_labels import count_rows, label_file, label_places, read_rows
from yoloslim.errors import DataError
from yoloslim.runner.text import NotText, read_lines

DIFFICULT = "difficult.txt"
"""Beside data.yaml: label file and row (from 0) of every difficult box, a mark that YOLO's label files lack."""
_ENOUGH = 3
"""Rows from which on what all have in common is no chance."""
_LOOKED_AT = 20
"""Images of a folder whose label files are looked for to tell whether it is a data set."""


def find(path: Path) -> Path | None:
    """A data.yaml or `.data`, the folder that has one, or the one whose images have label files.

    Raises:
        DataError: several data sets side by side.
    """
    if path.is_file():
        return path if path.suffix.lower() in (".yaml", ".yml", ".data") else None
    if not path.is_dir():
        return None
    below = _folders(path)
    for folders in ([path], below):
        described = [found[0] for found in map(descriptions, folders) if found]
        if described:
            return _only(described, path)
    if _holds_set(path):
        return path
    sets = [folder for folder in below if _holds_set(folder)]
    if sets and all(folder.name.lower() in SPLIT_NAMES for folder in sets):
        return path
    return _only(sets, path)


def read(root: Path, wanted: Wanted) -> Found:
    """Read a YOLO data set; see `layouts.Found`.

    Raises:
        DataError: paths that lead nowhere (says what was tried), no label file at all, or fewer names than classes.
    """
    del wanted
    description = read_description(root) if root.is_file() else {}
    folder = root.parent if root.is_file() else root
    items = Items()
    found = Found("yolo", folder, items)
    if description:
        told = described_images(description, root)
        images, splits = told.images, told.splits
        found.notes = list(dict.fromkeys(told.notes)) + _note_on_others(root) + _note_on_unnamed(images, root)
    else:
        images = Paths(filter(is_image, walk(folder)))
        splits = [split_of(image, folder) for image in images]
    if not images:
        raise DataError(f"{folder} holds no image")
    file: Path | None = root
    if not root.is_file():
        description, file, notes = names_alone(folder)
        found.notes += notes
    names, notes = class_names(description, file, folder)
    found.notes += notes
    settled = tuple(settle_class(name) for name in names.values())
    if len(set(settled)) < len(settled):
        twice = next(name for name in settled if settled.count(name) > 1)
        raise DataError(f"{root} names the class '{twice}' twice")
    found.classes, found.notes = settled, [*found.notes, *note_on_renamed(names.values())]
    by_number = dict(zip(names, settled, strict=True))
    files, labelled = Paths(), bytearray()
    for image in images:
        file = label_file(image)
        labelled.append(file is not None)
        if file is not None:
            files.append(file)
    if not files:
        raise DataError(
            f"none of the {len(images)} images has a label file; for {images[0]} it would be "
            f"{' or '.join(map(str, label_places(images[0])))}"
        )
    beside = [each for place in images.folders() if place.is_dir() for each in place.iterdir() if is_unread(each)]
    found.notes += notes_on_unread(unread_pictures(beside))
    unread = {each.stem: each.name for each in beside}
    orphans = _orphans(images, splits, files, labelled)
    for file in orphans:
        images.append(file)
        files.append(file)
    splits += orphans.values()
    labelled += bytes([True]) * len(orphans)
    ids = names_of(images, folder)
    difficult = _difficult(folder)
    numbers: dict[int, Path] = {}
    points: Counter[int] = Counter()
    key_points, posed, seen = _key_points(description), 0, 0
    label = iter(files)
    for image, name, has_file in zip(images, ids, labelled, strict=True):
        raw: RawAnnotation | DataError
        file = next(label) if has_file else None
        rows = read_rows(file, key_points)
        if isinstance(rows, DataError):
            raw = rows
        else:
            points.update(row.points for row in rows if row.points)
            seen += sum(row.seen for row in rows if row.points)
            posed += sum(row.seen for row in rows if not row.points)
            numbers |= {row.number: file for row in rows if file is not None}
            objects = (
                RawObject(by_number.get(row.number, f"class{row.number}"), row.box, (file, i) in difficult, False)
                for i, row in enumerate(rows)
            )
            raw = RawAnnotation(0, 0, objects, "shares")
        if image in orphans and (other := unread.get(image.stem)) and isinstance(raw, RawAnnotation):
            error = DataError(f"image of '{name}' is {other}, of a kind that is not read")
            items.append(Item(name, None, image, error, len(raw)))
            continue
        lost = count_rows(file) if file is not None and isinstance(raw, DataError) else 0
        items.append(Item(name, None if image in orphans else image, file or image, raw, lost))
    found.classes = _check_numbers(root, numbers, by_number, found)
    found.notes += _notes_on_points(points, seen, root)
    if posed:
        found.notes.append(f"{posed} rows have key points behind their box, which are not used")
    if background := labelled.count(False):
        found.notes.append(f"{background} images have no label file: background, as the format says")
    set_splits(found, splits)
    return found


def _notes_on_points(points: Counter[int], seen: int, root: Path) -> list[str]:
    """A note on rows that are no boxes, from how many there are of each number of points.

    Raises:
        DataError: all of them, `seen`, would fit as boxes with key points behind.
    """
    count, (most, same) = points.total(), next(iter(points.most_common(1)), (0, 0))
    if seen and seen == count and seen >= _ENOUGH:
        raise DataError(
            f"{root}: {seen} rows of {', '.join(str(2 * n + 1) for n in sorted(points))} columns look like boxes with "
            "key points behind, not like outlines: each would end with 0, 1 or 2; write `kpt_shape: "
            f"[{(2 * most - 4) // 3}, 3]` into data.yaml"
        )
    notes = notes_on_outlines(count, "rows are outlines of 3 or more points")
    if same == count >= _ENOUGH and most > 4:
        notes.append(
            f"all outlines have {most} points: if these are boxes with key points behind, write `kpt_shape: "
            f"[{most - 2}, 2]` into data.yaml"
        )
    return notes


def _orphans(images: Paths, splits: Sequence[str], files: Paths, labelled: bytearray) -> dict[Path, str]:
    """Label files in the folders of others that no image is there for, with the split of those others."""
    split_of_folder: dict[Path, str] = {}
    places: dict[Path, set[Path]] = {}
    label = iter(files)
    for image, split, has_file in zip(images, splits, labelled, strict=True):
        if has_file:
            folder = next(label).parent
            split_of_folder.setdefault(folder, split)
            places.setdefault(folder, set()).add(image.parent)
    found: dict[Path, str] = {}
    for folder, split in split_of_folder.items():
        stems = {os.path.splitext(name)[0] for place in places[folder] for name in _images_in(place)}  # noqa: PTH122
        for name in sorted(name for name in os.listdir(folder) if name.endswith(".txt")):  # noqa: PTH208
            other = name in (*NAME_FILES, DIFFICULT) or is_side_file(name)
            if not other and name.removesuffix(".txt") not in stems:
                found[folder / name] = split
    for file in files if found else ():
        found.pop(file, None)
    rows = {file: read_rows(file) for file in found}
    return {file: split for file, split in found.items() if rows[file] and not isinstance(rows[file], DataError)}


def _images_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [item.name for item in entries if is_image(item.name) and (item.is_symlink() or item.is_file())]


def _note_on_others(file: Path) -> list[str]:
    others = [each.name for each in descriptions(file.parent) if each != file]
    return [f"described by {file.name}; data.path chooses: {', '.join(others[:5])} are there too"] if others else []


def _note_on_unnamed(images: Paths, file: Path) -> list[str]:
    """Images with labels that lie among those of a description below its folder, and that no split of it names."""
    folders = images.folders()
    common = Path(os.path.commonpath(folders)) if len(folders) > 1 else folders[0].parent
    while common != file.parent and common.name.lower() in (*SPLIT_NAMES, "images"):
        common = common.parent
    used = set(map(str, images))
    if not common.is_relative_to(file.parent):
        return []
    unnamed = sorted(p for p in walk(common) if is_image(p) and str(p) not in used and label_file(p) is not None)
    where = f"{file.name} and were not used, such as {unnamed[0].relative_to(file.parent)}" if unnamed else ""
    return [f"{len(unnamed)} images with labels are in no split of {where}"] if unnamed else []


def _key_points(description: Mapping[str, Any]) -> int:
    """Numbers of a row behind its box, by the `kpt_shape` of pose data; 0 for none."""
    shape = description.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(each, int) for each in shape):
        return 0
    return max(0, int(shape[0]) * int(shape[1]))


def _difficult(folder: Path) -> set[tuple[Path, int]]:
    """Label file and row of the boxes that `difficult.txt` marks, as `yoloslim data convert` writes it."""
    file = folder / DIFFICULT
    try:
        lines = [line.rpartition(" ") for line in read_lines(file)] if file.is_file() else []
        return {(folder / name, int(row)) for name, _, row in lines}
    except (NotText, ValueError) as error:
        raise DataError(f"{file} is no list of label files and rows") from error


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX")))


def _holds_set(folder: Path) -> bool:
    """Whether a folder holds `images` and `labels`, or images with their label files beside them."""
    kinds = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()}
    if {"images", "labels"} <= kinds.keys():
        return any(p.suffix.lower() == ".txt" for p in walk(kinds["labels"]))
    images = islice((p for p in folder.iterdir() if is_image(p)), _LOOKED_AT)
    rows = [read_rows(file) for file in map(label_file, images) if file is not None]
    return any(each and not isinstance(each, DataError) for each in rows)


def _only(places: list[Path], path: Path) -> Path | None:
    """The one place, if there is one.

    Raises:
        DataError: there are several.
    """
    if len(places) > 1:
        names = ", ".join(str(place.relative_to(path)) for place in places[:5])
        raise DataError(f"{path} holds several data sets ({names}); point data.path at one of them")
    return places[0] if places else None


def _check_numbers(root: Path, used: dict[int, Path], names: dict[int, str], found: Found) -> tuple[str, ...]:
    """The classes, `class0` and so on where the set has no names; `used` has a file of each number.

    Raises:
        DataError: numbers without a name.
    """
    if not names and used:
        if max(used) >= 10_000:
            raise DataError(f"{root}: class number {max(used)} without any names")
        names = {i: f"class{i}" for i in range(max(used) + 1)}
        last = f"class{max(used)}"
        found.notes.append(f"no class names were found (data.yaml, classes.txt): they are called class0 to {last}")
    unknown = sorted(used - names.keys())
    if unknown:
        odd = unknown[-1]
        raise DataError(
            f"{root} names {len(names)} classes, but labels use number {odd} too, as {used[odd]} does; complete `names`"
            f" (numbers {', '.join(map(str, islice(names, 5)))}{' ...' if len(names) > 5 else ''} have one)"
        )
    return tuple(names.values())


register_dataset(Reader("yolo", "YOLO: data.yaml or images and labels, one text file an image", find, read))
