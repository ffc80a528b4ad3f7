"""What `detect` leaves of an image: the picture with boxes and, where asked for, its boxes as text and cut out."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np

from .errors import RunnerError
from .labels import Painter
from .names import file_name
from .pictures import write_picture
from .whole import note_on_others, whole

LABELS, CROPS = "labels", "crops"
SHOWN = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".mp4")
"""Suffixes of the pictures and videos that runs leave."""


class Output:
    """A folder that detections are written to.

    Attributes:
        folder: made if missing.
        painter: what draws, and what it has to say.
    """

    def __init__(
        self, folder: Path, classes: Sequence[str], only: Sequence[str] = (), labels: bool = False, crops: bool = False
    ) -> None:
        """Choose what is written.

        Args:
            folder: where to.
            classes: of the model.
            only: names or numbers of the classes that are kept, or several with commas between them; all, if empty.
            labels: boxes as `labels/NAME.txt`, as YOLO's data sets have them: class, centre x, y, width, height, of 1.
            crops: every box cut out, as `crops/CLASS/NAME-NUMBER.jpg`, the best is number 1.

        Raises:
            RunnerError: a class that the model does not know, or a font that cannot be read.
        """
        self.folder, self.painter = folder, Painter(classes)
        self._classes, self._labels, self._crops = classes, labels, crops
        self._only = _numbers(only, classes)
        self._stems: set[str] = set()
        self._written: set[Path] = set()

    def keep(self, rows: np.ndarray) -> np.ndarray:
        """Of detections (n, 6) those of the classes that are asked for."""
        return rows[np.isin(rows[:, 5], self._only)] if self._only else rows

    def place(self, name: str) -> Path:
        """Where a result of that name is written; it is one of this run's."""
        self._written.add(self.folder / name)
        return self.folder / name

    def remarks(self) -> list[str]:
        """What a person should know about the pictures, and of files that look like results and are none."""
        there = [path for path in self.folder.glob("*") if path.suffix.lower() in SHOWN]
        there += [*self.folder.glob(f"{LABELS}/*.txt"), *self.folder.glob(f"{CROPS}/*/*.jpg")]
        return self.painter.remarks() + note_on_others(self.folder, there, self._written)

    def picture(self, name: str, image: np.ndarray, rows: np.ndarray) -> None:
        """Write a picture with its boxes under that name, and what else is asked for.

        Raises:
            RunnerError: the disk refused.
        """
        write_picture(self.place(name), self.painter.draw(image, rows))
        self.parts(Path(name).stem, image, rows)

    def parts(self, stem: str, image: np.ndarray, rows: np.ndarray) -> None:
        """Write what is asked for beside the picture; a stem that is taken is numbered.

        Raises:
            RunnerError: the disk refused.
        """
        stem = free(stem, self._stems)
        self._stems.add(stem)
        if self._labels:
            with whole(self.place(f"{LABELS}/{stem}.txt")) as temporary:
                temporary.write_text(_as_yolo(rows, image.shape[1], image.shape[0]), encoding="utf-8")
        for number, row in enumerate(rows if self._crops else ()):
            x0, y0 = (int(v) for v in row[:2])
            x1, y1 = (int(np.ceil(v)) for v in row[2:4])
            name = f"{CROPS}/{_folder_name(self._classes[int(row[5])])}/{stem}-{number + 1}.jpg"
            write_picture(self.place(name), np.ascontiguousarray(image[y0:y1, x0:x1]))


def free(stem: str, taken: Container[str]) -> str:
    """A name, numbered where it is taken."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def _numbers(only: Sequence[str], classes: Sequence[str]) -> list[int]:
    numbers = []
    for text in only:
        for name in [text] if text in classes else text.split(","):
            name = name.strip()
            if name in classes:
                numbers.append(list(classes).index(name))
            elif name.isdecimal() and int(name) < len(classes):
                numbers.append(int(name))
            else:
                known = ", ".join(classes[:20]) + (" ..." if len(classes) > 20 else "")
                raise RunnerError("data", f"the model has no class {name!r}; it has {known}")
    return numbers


def _as_yolo(rows: np.ndarray, width: int, height: int) -> str:
    lines = []
    for x0, y0, x1, y1, _, label in rows.tolist():
        box = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height
        lines.append(f"{int(label)} " + " ".join(f"{v:.6f}" for v in box) + "\n")
    return "".join(lines)


def _folder_name(name: str) -> str:
    """A class's name as a folder's, which is never hidden, nor the folder itself or the one above."""
    text = file_name(name)
    return "%2E" + text[1:] if text.startswith(".") else text
