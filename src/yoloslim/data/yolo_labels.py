"""YOLO's label files: a box a line, as shares of the sides: class, then `x y width height` or corners of a polygon."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from yoloslim.data.packed import Paths
from yoloslim.errors import DataError
from yoloslim.runner.text import NotText, read_lines

DIFFICULT = "difficult.txt"
"""Beside data.yaml: label file and row (from 0) of every difficult box, a mark that YOLO's label files lack."""
SLACK = 0.01
"""Share of a side by which a box may reach over the edge; more are pixels, not shares."""


_SEEN = frozenset((0.0, 1.0, 2.0))
"""What stands behind a key point: not there, hidden, seen."""


class Row(NamedTuple):
    """A line of a label file: class number, corners as shares of the sides.

    Attributes:
        points: of the outline that the line gave instead of a box; 0 for a box.
        seen: whether key points stand behind its box; of an outline, whether it could be such a box, since each point
            would end with 0, 1 or 2.
    """

    number: int
    box: tuple[float, float, float, float]
    points: int = 0
    seen: bool = False


def label_file(image: Path) -> Path | None:
    """The text file of an image: in `labels` where it is in `images`, or beside it."""
    return next((place for place in label_places(image) if place.is_file()), None)


def label_places(image: Path) -> list[Path]:
    """Where the text file of an image may be, the likeliest first; folder and suffix may be in other case."""
    parts = image.parts
    stems = []
    for i in range(len(parts) - 2, -1, -1):
        if parts[i].lower() == "images":
            folders = dict.fromkeys([{"Images": "Labels", "IMAGES": "LABELS"}.get(parts[i], "labels"), "labels"])
            stems = [Path(*parts[:i], folder, *parts[i + 1 :]) for folder in folders]
            break
    return [stem.with_suffix(suffix) for suffix in (".txt", ".TXT") for stem in (*stems, image)]


class LabelFiles:
    """The label file of each image of a set, or None, in little memory."""

    def __init__(self) -> None:
        self.files, self._there = Paths(), bytearray()

    @classmethod
    def beside(cls, images: Paths) -> "LabelFiles":
        """Look for those of images.

        Raises:
            DataError: no image has one.
        """
        labels = cls()
        for image in images:
            labels.append(label_file(image))
        if not labels.files:
            raise DataError(
                f"none of the {len(images)} images has a label file; for {images[0]} it would be "
                f"{' or '.join(map(str, label_places(images[0])))}"
            )
        return labels

    def append(self, file: Path | None) -> None:
        """That of one more image."""
        self._there.append(file is not None)
        if file is not None:
            self.files.append(file)

    def missing(self) -> int:
        """Images without one."""
        return self._there.count(False)

    def __iter__(self) -> Iterator[Path | None]:
        file = iter(self.files)
        return (next(file) if there else None for there in self._there)


def read_rows(file: Path | None, key_points: int = 0) -> list[Row] | DataError:
    """Class numbers and boxes (corners, shares of the sides) of one label file, or what is wrong with it.

    Args:
        file: None for an image without one.
        key_points: numbers behind each box, as pose data has them; they are not used.
    """
    if file is None:
        return []
    try:
        return [_row(line, number, file, key_points) for number, line in enumerate(read_lines(file), 1)]
    except NotText as error:
        return DataError(f"{file} {error}")
    except OSError as error:
        return DataError(f"{file} cannot be read: {error.strerror or error}")
    except DataError as error:
        return error


def count_rows(file: Path) -> int:
    """Lines of a label file that cannot be read."""
    try:
        return len(read_lines(file))
    except (NotText, OSError):
        return 0


def _row(line: str, number: int, file: Path, key_points: int) -> Row:
    where = f"{file} line {number}"
    words = line.split()
    posed = key_points > 0 and len(words) == 5 + key_points
    if posed:
        words = words[:5]
    if len(words) != 5 and (key_points or len(words) < 7 or len(words) % 2 == 0):
        right = f"a box with key points {5 + key_points}" if key_points else "a polygon 7, 9, 11 ..."
        raise DataError(f"{where} has {len(words)} columns; a box has 5, {right}{_hint_on_columns(line, words)}")
    try:
        values = _values(line, words)
    except ValueError as error:
        raise DataError(f"{where} holds '{line[:40]}', which are no numbers{_hint_on_words(line, words)}") from error
    if not all(map(math.isfinite, values)):
        raise DataError(f"{where} holds '{line[:40]}', which are no finite numbers")
    if values[0] < 0 or values[0] != int(values[0]) or values[0] > 1e6:
        raise DataError(f"{where}: '{words[0][:20]}' is no class number")
    rest = values[1:]
    if max(rest) > 2:
        raise DataError(f"{where} holds '{line[:40]}': pixels, where shares of the sides (0 to 1) belong")
    if len(rest) == 4:
        x, y, width, height = rest
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        box = (min(rest[::2]), min(rest[1::2]), max(rest[::2]), max(rest[1::2]))
    if min(box) < -SLACK or max(box) > 1 + SLACK:
        box = (max(box[0], -1.0), max(box[1], -1.0), min(box[2], 2.0), min(box[3], 2.0))  # clipped and noted later
    else:
        box = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], 1.0), min(box[3], 1.0))
    if len(rest) == 4:
        return Row(int(values[0]), box, seen=posed)
    return Row(int(values[0]), box, len(rest) // 2, len(rest) % 3 == 1 and _SEEN.issuperset(rest[6::3]))


def _values(line: str, words: list[str]) -> list[float]:
    if "_" in line or not line.isascii():  # Python takes 1_0 and digits of all scripts for numbers
        raise ValueError(line)
    return [float(word) for word in words]


def _hint_on_columns(line: str, words: list[str]) -> str:
    if len(words) == 1 and "," in line:
        return "; blanks belong between columns, not commas"
    return {6: "; is the sixth a score, as detectors write?", 10: "; DOTA's form is not read"}.get(len(words), "")


def _hint_on_words(line: str, words: list[str]) -> str:
    if any(word.endswith(",") for word in words):
        return "; blanks belong between columns, not commas"
    if "," in line:
        return "; decimals have a point, not a comma"
    named = [word[0].isalpha() for word in words]
    if all(named):
        return "; headings are not read"
    return "; the number of the class belongs in front, its name into data.yaml" if named[0] else ""


def difficult_rows(folder: Path) -> set[tuple[Path, int]]:
    """Label file and row of the boxes that `difficult.txt` marks, as `yoloslim data convert` writes it."""
    file = folder / DIFFICULT
    try:
        lines = [line.rpartition(" ") for line in read_lines(file)] if file.is_file() else []
        return {(folder / name, int(row)) for name, _, row in lines}
    except (NotText, ValueError) as error:
        raise DataError(f"{file} is no list of label files and rows") from error
