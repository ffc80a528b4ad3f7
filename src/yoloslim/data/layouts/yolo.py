"""YOLO: a `data.yaml`, images, and one text file of `class x y width height` (shares of the sides) an image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoloslim.data.folders import is_image, is_side_file, walk
from yoloslim.data.layouts import Found, Item, Reader, Wanted, register_dataset
from yoloslim.data.names import note_on_renamed, settle_class
from yoloslim.data.reading import names_of, set_splits, split_of
from yoloslim.data.voc import RawAnnotation, RawObject
from yoloslim.data.yolo_labels import Rows, label_file, read_rows
from yoloslim.documents import read_yaml
from yoloslim.errors import DataError
from yoloslim.runner.text import NotText, read_lines

DIFFICULT = "difficult.txt"
"""Beside data.yaml: label file and row (from 0) of every difficult box, a mark that YOLO's label files lack."""
_NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels/classes.txt", "_darknet.labels")


def find(path: Path) -> Path | None:
    """A data.yaml, or the folder that has one, or folders `images` and `labels`."""
    if path.is_file():
        return path if path.suffix.lower() in (".yaml", ".yml") else None
    if not path.is_dir():
        return None
    for folder in (path, *_folders(path)):
        yaml = next((p for p in sorted(folder.glob("*.y*ml")) if _describes(p)), None)
        if yaml is not None:
            return yaml
    for folder in (path, *_folders(path)):
        if (folder / "labels").is_dir() and (folder / "images").is_dir():
            return folder
        if any((folder / name).is_file() for name in _NAME_FILES) and any(map(_is_label, folder.glob("*.txt"))):
            return folder
    return None


def read(root: Path, wanted: Wanted) -> Found:
    """Read a YOLO data set; see `layouts.Found`.

    Raises:
        DataError: paths that lead nowhere (says what was tried), no names, or fewer than the largest class.
    """
    del wanted
    description = _description(root) if root.is_file() else {}
    folder = root.parent if root.is_file() else root
    found = Found("yolo", folder, [])
    images = _images(description, folder) if description else _all_images(folder)
    if not images:
        raise DataError(f"{folder} holds no image")
    names = _names(description, folder, found)
    settled = tuple(settle_class(name) for name in names.values())
    if len(set(settled)) < len(settled):
        twice = next(name for name in settled if settled.count(name) > 1)
        raise DataError(f"{root} names the class '{twice}' twice")
    found.classes, found.notes = settled, [*found.notes, *note_on_renamed(names.values())]
    by_number = dict(zip(names, settled, strict=True))
    files = [label_file(image) for image, _ in images]
    orphans = _orphans(images, files)
    files += [file for file, _ in orphans]
    images += orphans
    rows = [read_rows(file) for file in files]
    found.classes, by_number = _check_numbers(root, rows, by_number, found)
    ids = names_of([image for image, _ in images], folder)
    missing = {file for file, _ in orphans}
    difficult = _difficult(folder)
    background = 0
    for (image, _), name, file, parsed in zip(images, ids, files, rows, strict=True):
        background += file is None
        raw: RawAnnotation | DataError
        if isinstance(parsed, DataError):
            raw = parsed
        else:
            marks = [(file, row) in difficult for row in range(len(parsed))]
            objects = zip(parsed, marks, strict=True)
            raw = RawAnnotation(
                0, 0, tuple(RawObject(by_number[n], box, mark, False) for (n, box), mark in objects), "shares"
            )
        found.items.append(Item(name, None if image in missing else image, file or image, raw))
    if background:
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
            rows = read_rows(file) if alone and file.name not in (*_NAME_FILES, DIFFICULT) else None
            if rows and not isinstance(rows, DataError):
                found.append((file, split))
    return found


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


def _describes(path: Path) -> bool:
    try:
        raw = read_yaml(path, DataError)
    except DataError:
        return path.name.lower() in ("data.yaml", "data.yml")
    return isinstance(raw, dict) and ("names" in raw or "nc" in raw) and bool({"train", "val"} & raw.keys())


def _is_label(path: Path) -> bool:
    return any(path.with_suffix(suffix).is_file() for suffix in (".jpg", ".png", ".jpeg", ".JPG"))


def _description(path: Path) -> dict[str, Any]:
    raw = read_yaml(path, DataError)
    if not isinstance(raw, dict):
        raise DataError(f"{path} must hold `names:`, `train:` and `val:`, not {type(raw).__name__}")
    return raw


def _images(description: Mapping[str, Any], folder: Path) -> list[tuple[Path, str]]:
    """Images with their splits, as data.yaml gives them."""
    result: list[tuple[Path, str]] = []
    seen: dict[Path, str] = {}
    for key, split in (("train", "train"), ("val", "val"), ("valid", "val"), ("test", "test")):
        value = description.get(key)
        if not value or (key == "valid" and description.get("val")):
            continue
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, str):
                raise DataError(f"data.yaml: `{key}` holds {entry!r:.40}, which is no path")
            place = _resolve(entry, description.get("path"), folder, key)
            members = _listed(place, folder) if place.is_file() else [p for p in walk(place) if is_image(p)]
            for image in members:
                if seen.setdefault(image, split) == split and (image, split) not in result[-1:]:
                    result.append((image, split))
    result = list(dict.fromkeys(result))
    if not any(split == "train" for _, split in result):
        raise DataError(f"{folder}: data.yaml names no image to train on")
    return result


def _resolve(entry: str, base: Any, folder: Path, key: str) -> Path:
    """Where a path of data.yaml leads: from its `path`, its own folder or the one above, or without leading `..`."""
    entry = entry.replace("\\", "/")
    plain = entry
    while plain.startswith(("../", "./")):
        plain = plain.split("/", 1)[1]
    bases = [folder / base, Path(base)] if isinstance(base, str) and base else []
    if isinstance(base, str) and base:
        bases.append(folder / Path(base.replace("\\", "/")).name)
    tried = [*(b / entry for b in bases), folder / entry, folder / plain, *(b / plain for b in bases)]
    if plain.startswith(f"{folder.name}/"):
        tried.append(folder / plain.removeprefix(f"{folder.name}/"))
    for place in tried:
        if place.exists() and not (place.is_file() and place.suffix.lower() != ".txt"):
            return place
    listed = ", ".join(dict.fromkeys(str(p) for p in tried))
    raise DataError(f"data.yaml: `{key}: {entry[:80]}` leads nowhere; tried {listed}")


def _listed(file: Path, folder: Path) -> list[Path]:
    try:
        lines = read_lines(file)
    except NotText as error:
        raise DataError(f"list {file} {error}") from error
    found = []
    for line in lines:
        line = line.replace("\\", "/")
        tried = [file.parent / line, folder / line, folder / line.removeprefix("./")]
        place = next((p for p in tried if p.is_file()), None)
        found.append(place or tried[0])
    return found


def _all_images(folder: Path) -> list[tuple[Path, str]]:
    return [(path, split_of(path, folder)) for path in walk(folder) if is_image(path)]


def _names(description: Mapping[str, Any], folder: Path, found: Found) -> dict[int, str]:
    """Class number -> name."""
    names = description.get("names")
    if isinstance(names, list):
        return dict(enumerate(map(str, names)))
    if isinstance(names, dict):
        try:
            return {int(key): str(value) for key, value in sorted(names.items(), key=lambda item: int(item[0]))}
        except (ValueError, TypeError) as error:
            raise DataError(f"{folder}: `names` of data.yaml has keys that are no numbers") from error
    if names is not None:
        raise DataError(f"{folder}: `names` of data.yaml is neither a list nor number: name")
    for name in _NAME_FILES:
        if (folder / name).is_file():
            try:
                return dict(enumerate(read_lines(folder / name)))
            except NotText as error:
                raise DataError(f"class names {folder / name} {error}") from error
    count = description.get("nc")
    if isinstance(count, int) and 0 < count < 10_000:
        found.notes.append(f"data.yaml names no class: they are called class0 to class{count - 1}")
        return {i: f"class{i}" for i in range(count)}
    return {}


def _check_numbers(
    root: Path, rows: list[Rows | DataError], names: dict[int, str], found: Found
) -> tuple[tuple[str, ...], dict[int, str]]:
    used = {n for one in rows if not isinstance(one, DataError) for n, _ in one}
    if not names and used:
        if max(used) >= 10_000:
            raise DataError(f"{root}: class number {max(used)} without any names")
        names = {i: f"class{i}" for i in range(max(used) + 1)}
        last = f"class{max(used)}"
        found.notes.append(f"no class names were found (data.yaml, classes.txt): they are called class0 to {last}")
    unknown = sorted(used - names.keys())
    if unknown:
        raise DataError(f"{root} names {len(names)} classes, but labels use number {unknown[-1]}; complete `names`")
    return tuple(names.values()), names


register_dataset(Reader("yolo", "YOLO: data.yaml or images and labels, one text file an image", find, read))
