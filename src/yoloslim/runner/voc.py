"""Pascal VOC files on both sides: image sets, annotations, and result files as VOC's own tools read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from .bounded import MAX_XML_BYTES, read_bounded
from .errors import RunnerError
from .names import file_name
from .pictures import SUFFIXES
from .text import NotText, parse_xml, read_lines
from .whole import note_on_others, whole


def read_image_set(image_set: Path, image_dir: Path | None = None) -> list[Path]:
    """The images that a list names, one a line: names without suffix as in VOC, or paths. Suffixes may be of any case.

    A last column of -1, 0 or 1, as in VOC's per-class lists, is ignored. Relative names are looked up in `image_dir`;
    without it, beside the list.

    Raises:
        RunnerError: the list cannot be read or is empty, or an image is missing.
    """
    try:
        names = read_lines(image_set)
    except OSError as error:
        raise RunnerError("data", f"image set {image_set} cannot be read: {error.strerror or error}") from error
    except NotText as error:
        raise RunnerError("data", f"image set {image_set} cannot be read: it {error}") from error
    if not names:
        raise RunnerError("data", f"image set {image_set} names no image")
    folder = image_set.parent if image_dir is None else image_dir
    indexes: dict[Path, dict[str, Path]] = {}
    return [_find_image(folder, name, image_set, indexes) for name in names]


def find_dataset(path: Path) -> Path:
    """The folder that holds JPEGImages: `path` itself, or the only one below it that does (VOCdevkit/VOC2007).

    Raises:
        RunnerError: none, or several.
    """
    if (path / "JPEGImages").is_dir():
        return path
    below = sorted(p.parent for p in path.glob("*/JPEGImages")) if path.is_dir() else []
    if len(below) != 1:
        found = ", ".join(p.name for p in below) or "no folder with JPEGImages"
        raise RunnerError("data", f"{path} is no single data set in VOC layout: it holds {found}")
    return below[0]


def image_set_of(dataset: Path, name: str) -> Path:
    """The file of an image set.

    Raises:
        RunnerError: there is none of that name.
    """
    path = dataset / "ImageSets" / "Main" / (name + ".txt")
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
        raise RunnerError("data", f"{path} is missing; image sets there: {there}")
    return path


class Truth:
    """The objects of one image: `boxes` (n, 4) `xyxy`, 0-based and half-open, `labels` (n,), `difficult` (n,)."""

    def __init__(self, boxes: np.ndarray, labels: np.ndarray, difficult: np.ndarray) -> None:
        self.boxes = boxes.reshape(-1, 4).astype(np.float64)
        self.labels, self.difficult = labels.astype(np.int64), difficult.astype(np.bool_)


def read_truth(path: Path, classes: Sequence[str]) -> Truth:
    """Read an annotation.

    Raises:
        RunnerError: missing, malformed, or a class that the model does not know.
    """
    try:
        boxes, labels, difficult = [], [], []
        for item in parse_xml(read_bounded(path, MAX_XML_BYTES)).findall("object"):
            name = " ".join((item.findtext("name") or "").split())
            if name not in classes:
                raise RunnerError("data", f"{path} names the class {name!r}, which the model does not know")
            xmin, ymin, xmax, ymax = (
                float(item.findtext("bndbox/" + k) or "") for k in ("xmin", "ymin", "xmax", "ymax")
            )
            if not np.isfinite([xmin, ymin, xmax, ymax]).all():
                raise RunnerError("data", f"annotation {path} has a box that is not finite")
            xmin, xmax, ymin, ymax = min(xmin, xmax), max(xmin, xmax), min(ymin, ymax), max(ymin, ymax)
            boxes.append((xmin - 1, ymin - 1, xmax, ymax))
            labels.append(list(classes).index(name))
            difficult.append((item.findtext("difficult") or "").strip().lower() in ("1", "true", "yes"))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise RunnerError("data", f"annotation {path} cannot be read: {error}") from error
    return Truth(np.array(boxes), np.array(labels), np.array(difficult))


def write_results(
    folder: Path, image_set: str, classes: Sequence[str], ids: Sequence[str], detections: Iterable[np.ndarray]
) -> list[str]:
    """Write one file a class, `comp4_det_<image set>_<class>.txt`, as VOC's development kit names and reads them;
    a `/` in a class's name becomes `%2F`.

    A line is `<image> <score> <xmin> <ymin> <xmax> <ymax>`, pixels counted from 1 and inclusive. Files of classes
    without detections are there and empty; files of the same names are replaced.

    Args:
        folder: made if missing.
        image_set: its name.
        classes: names, by label.
        ids: image names without suffix.
        detections: (n, 6) of every image: `xyxy` in image pixels, 0-based and half-open, score, class.

    Returns:
        What a person should know: files of that image set that are of other classes, and stay.

    Raises:
        RunnerError: the disk refused.
    """
    lines: list[list[str]] = [[] for _ in classes]
    for name, rows in zip(ids, detections):
        for x0, y0, x1, y1, score, label in rows.tolist():
            lines[int(label)].append(f"{name} {score:.6f} {x0 + 1:.3f} {y0 + 1:.3f} {x1:.3f} {y1:.3f}\n")
    paths = [folder / f"comp4_det_{file_name(image_set)}_{file_name(name)}.txt" for name in classes]
    for path, of_class in zip(paths, lines):
        with whole(path) as temporary:
            temporary.write_text("".join(of_class), encoding="utf-8")
    of_set = f"comp4_det_{file_name(image_set)}_"
    return note_on_others(folder, (path for path in folder.iterdir() if path.name.startswith(of_set)), set(paths))


_FLAG = re.compile(r"\s+(-1|0|1)$")
"""Behind a name in VOC's lists of a class; names may hold blanks themselves."""


def _find_image(folder: Path, name: str, image_set: Path, indexes: dict[Path, dict[str, Path]]) -> Path:
    written = (name, name.replace("\\", "/"))  # the latter for paths of Windows
    for stem in dict.fromkeys(stem for each in written for stem in (each, _FLAG.sub("", each))):
        exact = folder / stem
        if exact.suffix.lower() in SUFFIXES and exact.is_file():
            return exact
        if exact.parent not in indexes:
            indexes[exact.parent] = _index(exact.parent)
        if exact.name in indexes[exact.parent]:
            return indexes[exact.parent][exact.name]
    hint = "; name the folder of the images behind the list" if folder == image_set.parent else ""
    looked = ", ".join(SUFFIXES)
    raise RunnerError("data", f"image {name} of {image_set} is not in {folder} (looked for {looked}){hint}")


def _index(folder: Path) -> dict[str, Path]:
    """Names without suffix -> images of a folder; of several the one whose kind comes first in `SUFFIXES`."""
    try:
        images = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[:2] != "._"]
    except (OSError, ValueError):  # the latter of a name with a null byte
        return {}
    images.sort(key=lambda path: (SUFFIXES.index(path.suffix.lower()), path.name), reverse=True)
    return {path.stem: path for path in images}
