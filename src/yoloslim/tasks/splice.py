"""How frames of several streams reach the network: one by one, as a batch, or spliced into one picture."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloslim.boxes import Letterbox, place, resized
from yoloslim.errors import ConfigError

Image = NDArray[np.uint8]
Rows = NDArray[np.float32]

LEAST = 32
"""Pixels of a cell's shorter side that are worth a look: the coarsest cells of most heads are as large."""


@dataclass(frozen=True)
class Tiles:
    """A picture (imgsz, imgsz, 3) in cells, one a stream, from left to right and from top to bottom.

    Attributes:
        rows: of cells.
        columns: of cells.
        imgsz: side of the picture, px.
        fill: grey level around the frames.
    """

    rows: int
    columns: int
    imgsz: int
    fill: int

    @property
    def least(self) -> int:
        """The shorter side of a cell, px."""
        return self.imgsz // max(self.rows, self.columns)

    def fit(self, number: int, width: int, height: int) -> Letterbox:
        """Where a frame of that size lies in the picture: in the middle of its cell, as large as fits."""
        row, column = divmod(number, self.columns)
        tall, wide = self.imgsz // self.rows, self.imgsz // self.columns
        scale = min(wide / width, tall / height)
        new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = column * wide + (wide - new_w) // 2, row * tall + (tall - new_h) // 2
        return Letterbox(scale, left, top, new_w, new_h, self.imgsz)

    def prepare(self, number: int, image: Image) -> tuple[Image, tuple[Letterbox, int, int]]:
        """A frame as it will lie in the picture, and where."""
        box = self.fit(number, image.shape[1], image.shape[0])
        return resized(image, box), (box, image.shape[1], image.shape[0])

    def splice(self, parts: Sequence[tuple[Image, Letterbox]]) -> Image:
        """The picture of frames that `prepare` gave; cells without a frame are grey."""
        picture = np.full((self.imgsz, self.imgsz, 3), self.fill, np.uint8)
        for part, box in parts:
            place(picture, part, box)
        return picture

    def divide(self, rows: Rows, numbers: Sequence[int]) -> list[Rows]:
        """Detections (n, 6) in the picture's pixels by stream: a box belongs to the cell of its centre."""
        x, y = (rows[:, 0] + rows[:, 2]) / 2, (rows[:, 1] + rows[:, 3]) / 2
        column = np.minimum(x // (self.imgsz // self.columns), self.columns - 1)
        row = np.minimum(y // (self.imgsz // self.rows), self.rows - 1)
        cell = row * self.columns + column
        return [rows[cell == number] for number in numbers]


def read_tile(text: str, streams: int) -> tuple[int, int]:
    """Rows and columns of `2x2`.

    Raises:
        ConfigError: it is no such thing, or has fewer cells than there are streams.
    """
    found = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text.strip().lower())
    if not found:
        raise ConfigError(f"--tile {text}: give rows x columns, such as 2x2")
    rows, columns = int(found[1]), int(found[2])
    if rows * columns < streams:
        raise ConfigError(f"--tile {text} has room for {rows * columns} streams, and there are {streams}")
    return rows, columns
