"""YOLO: a `data.yaml` or Darknet's `.data`, images, and a text file an image: `class x y width height`, in shares."""

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from yoloslim.data.folders import is_image, is_side_file, is_unread, unread_pictures, walk
from yoloslim.data.layouts import SPLIT_NAMES, Found, Item, Items, Reader, Wanted, register_dataset
from yoloslim.data.names import note_on_renamed, settle_class
from yoloslim.data.packed import Paths
from yoloslim.data.reading import names_of, notes_on_unread, set_splits, split_of
from yoloslim.data.voc import RawAnnotation
from yoloslim.data.yolo_description import (
    NAME_FILES,
    class_names,
    described_images,
    descriptions,
    key_points,
    names_alone,
    read_description,
)
from yoloslim.data.yolo_labels import DIFFICULT, LabelFiles, count_rows, difficult_rows, label_file, read_rows
from yoloslim.data.yolo_rows import Rows
from yoloslim.errors import DataError

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
    found = Found("yolo", folder, Items())
    images, splits = _images(root, folder, description, found)
    by_number = _classes(root, folder, description, found)
    labels = LabelFiles.beside(images)
    unread = [each for place in images.folders() if place.is_dir() for each in place.iterdir() if is_unread(each)]
    found.notes += notes_on_unread(unread_pictures(unread))
    orphans = _orphans(images, splits, labels)
    for file, split in orphans.items():
        images.append(file)
        labels.append(file)
        splits.append(split)
    seen = Rows(key_points(description), by_number, difficult_rows(folder))
    unread_names = {each.stem: each.name for each in unread}
    for image, name, label in zip(images, names_of(images, folder), labels, strict=True):
        raw = seen.annotation(label)
        if image in orphans and (other := unread_names.get(image.stem)) and isinstance(raw, RawAnnotation):
            error = DataError(f"image of '{name}' is {other}, of a kind that is not read")
            found.items.append(Item(name, None, image, error, len(raw)))
            continue
        lost = count_rows(label) if label is not None and isinstance(raw, DataError) else 0
        found.items.append(Item(name, None if image in orphans else image, label or image, raw, lost))
    found.classes = seen.classes(root)
    found.notes += seen.notes(root)
    if background := labels.missing():
        found.notes.append(f"{background} images have no label file: background, as the format says")
    set_splits(found, splits)
    return found


def _images(root: Path, folder: Path, description: Mapping[str, Any], found: Found) -> tuple[Paths, list[str]]:
    """The images, and the split of each: those that a description names, or all in the folder.

    Raises:
        DataError: there is none, or see `described_images`.
    """
    if description:
        told = described_images(description, root)
        images, splits = told.images, told.splits
        found.notes = list(dict.fromkeys(told.notes)) + _note_on_others(root) + _note_on_unnamed(images, root)
    else:
        images = Paths(filter(is_image, walk(folder)))
        splits = [split_of(image, folder) for image in images]
    if not images:
        raise DataError(f"{folder} holds no image")
    return images, splits


def _classes(root: Path, folder: Path, description: Mapping[str, Any], found: Found) -> dict[int, str]:
    """Class number -> name, from the description or a list of names beside the images.

    Raises:
        DataError: a name stands there twice, or see `class_names`.
    """
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
    found.notes += note_on_renamed(names.values())
    return dict(zip(names, settled, strict=True))


def _orphans(images: Paths, splits: Sequence[str], labels: LabelFiles) -> dict[Path, str]:
    """Label files in the folders of others that no image is there for, with the split of those others."""
    split_of_folder: dict[Path, str] = {}
    places: dict[Path, set[Path]] = {}
    for image, split, label in zip(images, splits, labels, strict=True):
        if label is not None:
            split_of_folder.setdefault(label.parent, split)
            places.setdefault(label.parent, set()).add(image.parent)
    found: dict[Path, str] = {}
    for folder, split in split_of_folder.items():
        stems = {os.path.splitext(name)[0] for place in places[folder] for name in _images_in(place)}  # noqa: PTH122
        for name in sorted(name for name in os.listdir(folder) if name.endswith(".txt")):  # noqa: PTH208
            other = name in (*NAME_FILES, DIFFICULT) or is_side_file(name)
            if not other and name.removesuffix(".txt") not in stems:
                found[folder / name] = split
    for file in labels.files if found else ():
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


register_dataset(Reader("yolo", "YOLO: data.yaml or images and labels, one text file an image", find, read))
