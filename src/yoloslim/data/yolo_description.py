"""What describes a YOLO data set: a `data.yaml`, or Darknet's `.data`, and the lists of images that they name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoloslim.data.folders import is_image, unread_pictures, walk
from yoloslim.data.layouts import SPLIT_NAMES
from yoloslim.data.packed import Paths
from yoloslim.data.reading import Pictures, notes_on_unread
from yoloslim.data.voc import SPLITS
from yoloslim.documents import read_list, read_yaml
from yoloslim.errors import DataError

NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels/classes.txt", "_darknet.labels")
_SPLIT_KEYS = {**{split: split for split in SPLITS}, **SPLIT_NAMES}
"""Keys that name images of a split -> the split; another name of one counts where the plain one is not given."""


@dataclass(frozen=True)
class Described:
    """What a description says.

    Attributes:
        images: each once.
        splits: of the images, in step.
        notes: what a person should know.
    """

    images: Paths
    splits: list[str]
    notes: list[str]


def descriptions(folder: Path) -> list[Path]:
    """The files in a folder that describe a data set, `data.yaml` first."""
    yamls = [path for path in sorted(folder.glob("*.y*ml")) if path.is_file() and _describes(path)]
    return sorted(yamls, key=lambda p: p.stem.lower() != "data") or sorted(filter(_is_darknet, folder.glob("*.data")))


def read_description(path: Path) -> dict[str, Any]:
    """Keys and values of a description.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    if path.suffix.lower() == ".data":
        return _darknet(path)
    raw = read_yaml(path, DataError)
    if not isinstance(raw, dict):
        raise DataError(f"{path} must hold `names:`, `train:` and `val:`, not {type(raw).__name__}")
    _refuse_capitals(raw, path)
    return raw


def names_alone(folder: Path) -> tuple[dict[str, Any], Path | None, list[str]]:
    """What a data.yaml that names no images says of classes, the file, and notes.

    Raises:
        DataError: it cannot be read.
    """
    for file in (folder / "data.yaml", folder / "data.yml"):
        if file.is_file():
            raw = read_yaml(file, DataError)
            if isinstance(raw, dict):
                _refuse_capitals(raw, file)
            if isinstance(raw, dict) and "names" in raw:
                return raw, file, [f"{file.name} names classes and no images: all of the folder are taken"]
            return {}, None, [f"{file.name} has neither `train` nor `names`, and was not used"]
    return {}, None, []


def described_images(description: Mapping[str, Any], file: Path) -> Described:
    """Images with their splits, as a description gives them; an image of two splits is of the first.

    Raises:
        DataError: a path that leads nowhere, which says what was tried; or nothing to train on.
    """
    folder, result = file.parent, Described(Paths(), [], [])
    seen: dict[str, str] = {}
    for key, split in _SPLIT_KEYS.items():
        value = description.get(key)
        if not value or (key != split and description.get(split)):
            continue
        doubled: dict[str, int] = {}
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, str):
                raise DataError(f"{file.name}: `{key}` holds {entry!r:.40}, which is no path")
            place = _resolve(entry, description, file, key, result.notes)
            listed = place.is_file()
            for image in _listed(place, folder, result.notes) if listed else filter(is_image, walk(place)):
                before = seen.setdefault(str(image), split)
                if len(seen) > len(result.splits):
                    result.images.append(image)
                    result.splits.append(split)
                elif before != split:
                    doubled[before] = doubled.get(before, 0) + 1
        result.notes.extend(
            f"{count} images of `{key}` are in {other} too and stay there" for other, count in doubled.items()
        )
    if "train" not in result.splits:
        unread = "; ".join(["", *notes_on_unread(unread_pictures(walk(folder)))])
        raise DataError(f"{folder}: {file.name} names no image to train on{unread}")
    return result


def class_names(description: Mapping[str, Any], file: Path | None, folder: Path) -> tuple[dict[int, str], list[str]]:
    """Class number -> name, by a description or a file of names; and notes.

    Raises:
        DataError: names that are none.
    """
    names, count = description.get("names"), description.get("nc")
    said = file.name if file else "data.yaml"
    if isinstance(names, str) and file is not None and file.suffix.lower() == ".data":
        notes: list[str] = []
        place = _resolve(names, {}, file, "names", notes)
        return dict(enumerate(read_list(place, "class names", DataError))), notes
    if isinstance(names, list):
        found = dict(enumerate(map(str, names)))
    elif isinstance(names, dict):
        try:
            found = {int(key): str(value) for key, value in sorted(names.items(), key=lambda item: int(item[0]))}
        except (ValueError, TypeError) as error:
            raise DataError(f"{folder}: `names` of {said} has keys that are no numbers") from error
    elif names is not None:
        raise DataError(
            f"{folder}: `names` of {said} is neither a list, [cat, dog], nor a name behind each number, 0: cat"
        )
    else:
        for name in NAME_FILES:
            if (folder / name).is_file():
                return dict(enumerate(read_list(folder / name, "class names", DataError))), []
        if isinstance(count, int) and 0 < count < 10_000:
            note = f"{said} names no class: they are called class0 to class{count - 1}"
            return {i: f"class{i}" for i in range(count)}, [note]
        return {}, []
    written = names.values() if isinstance(names, dict) else names
    odd = [name for name in written if isinstance(name, bool) or not isinstance(name, (str, int, float))]
    if odd:
        raise DataError(
            f"{folder}: `names` of {said} holds {str(odd[0])[:40]}, which YAML takes for no text "
            f"({type(odd[0]).__name__}): put quotes around it"
        )
    if file is not None and any(not isinstance(name, str) for name in written):
        plain = read_yaml(file, DataError, plain=True)["names"]
        for text, name in zip(plain.values() if isinstance(plain, dict) else plain, written, strict=True):
            if text != str(name):
                raise DataError(
                    f"{folder}: `names` of {said} holds {text[:40]}, which YAML reads as {name}: put quotes around it"
                )
    if isinstance(count, int) and count != len(found):
        return found, [f"{said} says nc: {count}, but names {len(found)} classes: its names count"]
    return found, []


def _refuse_capitals(raw: Mapping[str, Any], file: Path) -> None:
    known = {"names", "path", "nc", *_SPLIT_KEYS}
    odd = [key for key in raw if isinstance(key, str) and key not in known and key.strip().lower() in known]
    if odd:
        raise DataError(f"{file} has the key `{odd[0]}`, which nothing reads: write `{odd[0].strip().lower()}`")


def _describes(path: Path) -> bool:
    try:
        raw = read_yaml(path, DataError)
    except DataError:
        return path.name.lower() in ("data.yaml", "data.yml")
    return isinstance(raw, dict) and ("names" in raw or "nc" in raw) and bool({"train", "val"} & raw.keys())


def _is_darknet(path: Path) -> bool:
    try:
        return path.is_file() and "train" in _darknet(path)
    except DataError:
        return False


def _darknet(path: Path) -> dict[str, Any]:
    """Darknet's `key = value`: lists of images of each split, and the file of names."""
    pairs = [line.partition("=") for line in read_list(path, "description", DataError) if not line.startswith("#")]
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def _resolve(entry: str, description: Mapping[str, Any], file: Path, key: str, notes: list[str]) -> Path:
    """Where a path leads: from `path`, the folder of the file or the one above, or without leading `..`.

    One that leads nowhere is taken for one of another machine: the longest of its ends that is there, which is noted.
    """
    folder, entry, base = file.parent, entry.replace("\\", "/"), description.get("path")
    plain = entry
    while plain.startswith(("../", "./")):
        plain = plain.split("/", 1)[1]
    bases: list[Path] = []
    if isinstance(base, str) and base:
        named = Path(base.replace("\\", "/"))
        bases = [folder / named, named, folder / named.name, folder / "datasets" / named.name]
        bases += [folder.parent / "datasets" / named.name]
    tried = [*(b / entry for b in bases), folder / entry, folder / plain, *(b / plain for b in bases)]
    if plain.startswith(f"{folder.name}/"):
        tried.append(folder / plain.removeprefix(f"{folder.name}/"))
    if file.suffix.lower() == ".data":  # Darknet starts from the folder above
        tried += [folder.parent / plain, folder / Path(plain).name]
    if re.match(r"/|[A-Za-z]:/", entry):
        tried, bases = [Path(entry)], []
    for place in tried:
        if _leads(place):
            if bases and not any(map(place.is_relative_to, bases[:2])):
                notes.append(
                    f"`path: {str(base)[:80]}` of {file.name} does not lead to `{entry[:80]}`: {place} was taken"
                )
            return place
    parts = plain.strip("/").split("/")
    for end in (Path(*parts[start:]) for start in range(len(parts))):
        if _leads(folder / end):
            notes.append(f"`{key}: {entry[:80]}` of {file.name} leads nowhere here: {end} was taken, the end of it")
            return folder / end
    if "://" in entry:
        raise DataError(f"{file.name}: `{key}: {entry[:80]}` is an address: download it, and write where it lies")
    listed = ", ".join(dict.fromkeys(str(p) for p in tried))
    share = "" if _SPLIT_KEYS.get(key, "train") == "train" else f". Without the key, {key} is a share of train"
    fetch = "; `download:` is not carried out here: run it as its makers say" if description.get("download") else ""
    raise DataError(
        f"{file.name}: `{key}: {entry[:80]}` leads nowhere, nor does an end of it; tried {listed}{share}{fetch}"
    )


def _leads(place: Path) -> bool:
    """Whether a folder or a list is there."""
    return place.is_dir() or (place.is_file() and place.suffix.lower() in (".txt", ".names", ".list"))


def _listed(file: Path, folder: Path, notes: list[str]) -> Iterator[Path]:
    """The images of a list; those that are not where it says are looked for by the ends of their paths."""
    pictures: Pictures | None = None
    elsewhere = 0
    for line in read_list(file, "list", DataError):
        line = line.replace("\\", "/")
        tried = [file.parent / line, folder / line, folder / line.removeprefix("./")]
        place = next((p for p in tried if p.is_file()), None)
        if place is None:
            pictures = pictures or Pictures(folder)
            place = pictures.find(line, file.parent)
            elsewhere += place is not None
        yield place or tried[0]
    if elsewhere:
        notes.append(f"{elsewhere} images of {file.name} are not where it says; found by the ends of their paths")


def key_points(description: Mapping[str, Any]) -> int:
    """Numbers of a row behind its box, by the `kpt_shape` of pose data; 0 for none."""
    shape = description.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(each, int) for each in shape):
        return 0
    return max(0, int(shape[0]) * int(shape[1]))
