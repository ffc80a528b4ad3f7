"""YOLO's label files: a box a line, as shares of the sides: class, then `x y width height` or corners of a polygon."""

import math
from pathlib import Path

from yoloslim.errors import DataError
from yoloslim.runner.text import NotText, read_lines

SLACK = 0.01
"""Share of a side by which a box may reach over the edge; more are pixels, not shares."""
Rows = list[tuple[int, tuple[float, float, float, float]]]
"""Class number and corners of every box of a file, as shares of the sides."""


def label_file(image: Path) -> Path | None:
    """The text file of an image: in `labels` where it is in `images`, or beside it."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i].lower() == "images":
            other = Path(*parts[:i], "labels", *parts[i + 1 :]).with_suffix(".txt")
            if other.is_file():
                return other
            break
    beside = image.with_suffix(".txt")
    return beside if beside.is_file() else None


def read_rows(file: Path | None) -> Rows | DataError:
    """Class numbers and boxes (corners, shares of the sides) of one label file, or what is wrong with it."""
    if file is None:
        return []
    try:
        return [_row(line, number, file) for number, line in enumerate(read_lines(file), 1)]
    except NotText as error:
        return DataError(f"{file} {error}")
    except OSError as error:
        return DataError(f"{file} cannot be read: {error.strerror or error}")
    except DataError as error:
        return error


def _row(line: str, number: int, file: Path) -> tuple[int, tuple[float, float, float, float]]:
    where = f"{file} line {number}"
    words = line.split()
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise DataError(f"{where} has {len(words)} columns; a box has 5, a polygon 7, 9, 11 ...")
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise DataError(f"{where} holds '{line[:40]}', which are no numbers") from error
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
    return int(values[0]), box
