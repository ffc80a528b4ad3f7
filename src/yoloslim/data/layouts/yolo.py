"""YOLO: a `data.yaml` or Darknet's `.data`, images, and a text file an image: `class x y width height`, in shares."""

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from yoloslim.data.folders import is_image, is_side_file, is_unread, unread_pictures, walk
from yoloslim.data.layouts import SPLIT_NAMES, Found, Item, Reader, Wanted, register_dataset
from yoloslim.data.names import note_on_renamed, settle_class
from yoloslim.data.reading import names_of, notes_on_outlines, notes_on_unread, set_splits, split_of
from yoloslim.data.voc import RawAnnotation, RawObject
from yoloslim.data.yolo_description import NAME_FILES, class_names, described_images, descriptions, read_description
from yoloslim.data.yolo_labels import count_rows, label_file, label_places, read_rows
from yoloslim.errors import DataError
from yoloslim.runner.text import NotText, read_lines

DIFFICULT = "difficult.txt"
"""Beside data.yaml: label file and row (from 0) of every difficult box, a mark that YOLO's label files lack."""
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
    found = Found("yolo", folder, [])
    if description:
        told = described_images(description, root)
        images = told.images
        found.notes = list(dict.fromkeys(told.notes)) + _note_on_others(root) + _note_on_unnamed(images, root)
    else:
        images = _all_images(folder)
    if not images:
        raise DataError(f"{folder} holds no image")
    names, notes = class_names(description, root if root.is_file() else None, folder)
    found.notes += notes
    settled = tuple(settle_class(name) for name in names.values())
    if len(set(settled)) < len(settled):
        twice = next(name for name in settled if settled.count(name) > 1)
        raise DataError(f"{root} names the class '{twice}' twice")
    found.classes, found.notes = settled, [*found.notes, *note_on_renamed(names.values())]
    by_number = dict(zip(names, settled, strict=True))
    files = [label_file(image) for image, _ in images]
    if not any(files):
        raise DataError(
            f"none of the {len(images)} images has a label file; for {images[0][0]} it would be "
            f"{' or '.join(map(str, label_places(images[0][0])))}"
        )
    places = {image.parent for image, _ in images}
    beside = [each for place in places for each in place.iterdir() if is_unread(each)]
    found.notes += notes_on_unread(unread_pictures(beside))
    unread = {each.stem: each.name for each in beside}
    orphans = _orphans(images, files)
    files += [file for file, _ in orphans]
    images += orphans
    ids = names_of([image for image, _ in images], folder)
    missing = {file for file, _ in orphans}
    difficult = _difficult(folder)
    numbers: dict[int, Path] = {}
    outlines, key_points, posed = 0, _key_points(description), 0
    for (image, _), name, file in zip(images, ids, files, strict=True):
        raw: RawAnnotation | DataError
        rows = read_rows(file, key_points)
        if isinstance(rows, DataError):
            raw = rows
        else:
            outlines += sum(row.outline for row in rows)
            posed += len(rows) if key_points else 0
            numbers |= {row.number: file for row in rows if file is not None}
            objects = (
                RawObject(by_number.get(row.number, f"class{row.number}"), row.box, (file, i) in difficult, False)
                for i, row in enumerate(rows)
            )
            raw = RawAnnotation(0, 0, objects, "shares")
        if image in missing and (other := unread.get(image.stem)) and isinstance(raw, RawAnnotation):
            error = DataError(f"image of '{name}' is {other}, of a kind that is not read")
            found.items.append(Item(name, None, image, error, len(raw)))
            continue
        lost = count_rows(file) if file is not None and isinstance(raw, DataError) else 0
        found.items.append(Item(name, None if image in missing else image, file or image, raw, lost))
    found.classes = _check_numbers(root, numbers, by_number, found)
    found.notes += notes_on_outlines(outlines, "rows are outlines of 3 or more points")
    if posed:
        found.notes.append(f"{posed} rows have key points behind their box, which are not used")
    if background := sum(file is None for file in files):
        found.notes.append(f"{background} images have no label file: background, as the format says")
    set_splits(found, [split for _, split in images])
    return found


def _orphans(images: list[tuple[Path, str]], files: list[Path | None]) -> list[tuple[Path, str]]:
    """Label files in the folders of others that no image is there for, with the split of those others."""
    splits: dict[Path, str] = {}
    places: dict[Path, set[Path]] = {}
    for (image, split), file in zip(images, files, strict=True):
        if file is not None:
            splits.setdefault(file.parent, split)
            places.setdefault(file.parent, set()).add(image.parent)
    used = {file for file in files if file is not None}
    found = []
    for folder, split in splits.items():
        stems = {each.stem for place in places[folder] for each in place.iterdir() if is_image(each)}
        for file in sorted(folder.glob("*.txt")):
            alone = file not in used and file.stem not in stems and not is_side_file(file.name)
            rows = read_rows(file) if alone and file.name not in (*NAME_FILES, DIFFICULT) else None
            if rows and not isinstance(rows, DataError):
                found.append((file, split))
    return found


def _note_on_others(file: Path) -> list[str]:
    others = [each.name for each in descriptions(file.parent) if each != file]
    return [f"described by {file.name}; data.path chooses: {', '.join(others[:5])} are there too"] if others else []


def _note_on_unnamed(images: list[tuple[Path, str]], file: Path) -> list[str]:
    """Images with labels that lie among those of a description below its folder, and that no split of it names."""
    used = {image for image, _ in images}
    folders = {image.parent for image in used}
    common = Path(os.path.commonpath(folders)) if len(folders) > 1 else next(iter(folders)).parent
    if not common.is_relative_to(file.parent):
        return []
    unnamed = sorted(p for p in walk(common) if is_image(p) and p not in used and label_file(p) is not None)
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


def _all_images(folder: Path) -> list[tuple[Path, str]]:
    return [(path, split_of(path, folder)) for path in walk(folder) if is_image(path)]


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
