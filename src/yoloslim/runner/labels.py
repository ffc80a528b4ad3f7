"""Boxes with names that can be read: a colour a class, text that stands out from it, no name upon another.

Pillow writes in a font that has the characters; without Pillow OpenCV writes ASCII. A name that neither can write
becomes its class's number, and `Painter.unwritable` says so.
"""

from __future__ import annotations

import colorsys
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .errors import RunnerError

cv2: Any
try:
    import cv2
except ImportError:  # the board's Python may have Pillow only, or neither
    cv2 = None
ImageFont: Any
try:
    from PIL import Image, ImageDraw, ImageFont
except ImportError:
    ImageFont = None

FONT_VARIABLE = "YOLOSLIM_FONT"
"""Environment variable: a font file that comes before all others."""
_FOLDERS = (
    "~/.fonts",
    "~/.local/share/fonts",
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
_BROAD = ("cjk", "wqy", "fallback", "simhei", "msyh", "pingfang", "hiragino", "malgun", "gothic", "unifont")
"""Parts of the names of fonts that have many scripts; they are tried first."""
_NOWHERE = "\U0010fffe"
"""A character that no font has."""

_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))
"""RGB, told apart by colour-blind people too (Okabe and Ito)."""
_STEPS = (0.8191725134, 0.6710436067, 0.5497004779)
"""Of hue, saturation and value from class to class: multiples of them fill a cube evenly (Roberts's R3 sequence)."""


def colour_of(label: int) -> tuple[int, int, int]:
    """RGB of a class, another one for each of thousands, and any two of the first 80 at least 20 levels apart."""
    if label < len(_COLOURS):
        return _COLOURS[label]
    hue, saturation, value = (label * step % 1 for step in _STEPS)
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.4 + 0.6 * saturation, 0.5 + 0.5 * value)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever has more contrast by WCAG 2: at least 4.58 on any colour."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 1.05 * 0.05 else (255, 255, 255)


class Painter:
    """Draws detections.

    Attributes:
        unwritable: names of objects so far that no font here has the characters of; their numbers are written instead.
        unnamed: boxes so far that had no room for their names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        """Find fonts for the names of classes.

        Raises:
            RunnerError: the font that `YOLOSLIM_FONT` names cannot be read.
        """
        self._fonts = [_font_for(name) for name in classes]
        self._classes = classes
        self.unwritable: list[str] = []
        self._names = [f"class {i}" if font is None else classes[i] for i, font in enumerate(self._fonts)]
        self.unnamed = 0

    def draw(self, image: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """A copy of an RGB image (H, W, 3) with detections (n, 6), best first, their names and scores.

        A score that is NaN is not written: truth has none.
        """
        image = np.ascontiguousarray(image).copy()
        height, width = image.shape[:2]
        line = max(1, round(max(height, width) / 400))
        for row in rows[::-1]:  # the best on top
            x0, y0, x1, y1 = (round(float(v)) for v in row[:4])
            for area in (
                (slice(y0, y0 + line), slice(x0, x1)),
                (slice(max(y1 - line, 0), y1), slice(x0, x1)),
                (slice(y0, y1), slice(x0, x0 + line)),
                (slice(y0, y1), slice(max(x1 - line, 0), x1)),
            ):
                image[area] = colour_of(int(row[5]))
        size, taken = max(12, round(max(height, width) / 45)), np.zeros((height, width), np.bool_)
        plates: dict[tuple[int, str], np.ndarray] = {}  # thousands of boxes say the same
        for row in rows:
            self._miss(int(row[5]))
            said = int(row[5]), "" if np.isnan(row[4]) else f"{row[4]:.2f}"
            if said not in plates:
                plates[said] = self._plate(*said, size)[:height, :width]
            plate = plates[said]
            tall, wide = plate.shape[:2]
            for x, y in _places(tuple(round(float(v)) for v in row[:4]), (wide, tall), (width, height)):
                area = slice(y, y + tall), slice(x, x + wide)
                if not taken[area].any():
                    image[area], taken[area] = plate, True
                    break
            else:
                self.unnamed += 1
        return image

    def remarks(self) -> list[str]:
        """What a person should know about the pictures."""
        found = []
        if self.unwritable:
            names = ", ".join(self.unwritable[:5]) + (" ..." if len(self.unwritable) > 5 else "")
            found.append(
                f"no font here can write {names}: pictures have the numbers of these classes. Install one "
                f"(`apt-get install fonts-noto-cjk`), or name a font file in {FONT_VARIABLE}"
            )
        if self.unnamed:
            found.append(f"{self.unnamed} boxes lie so close that there was no room for their names in the picture")
        return found

    def _miss(self, label: int) -> None:
        if self._fonts[label] is None and self._classes[label] not in self.unwritable:
            self.unwritable.append(self._classes[label])

    def _plate(self, label: int, score: str, size: int) -> np.ndarray:
        """Name and score on the colour of the class (h, w, 3), `size` px high, nearly."""
        text, font, colour = f"{self._names[label]} {score}".rstrip(), self._fonts[label], colour_of(label)
        if ImageFont is None:
            return _plate_of_opencv(text, size, colour)
        written = _sized(font or "", size)
        left, top, right, bottom = _extent(written, text)
        margin = max(1, size // 6)
        picture = Image.new("RGB", (right - left + 2 * margin, max(bottom - top, size) + margin), colour)
        start = margin - left, (picture.height - bottom - top) // 2
        ImageDraw.Draw(picture).text(start, text, ink_on(colour), written)
        return np.array(picture)


def _places(box: Sequence[int], plate: tuple[int, int], image: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Where a plate may lie at its box, inside the image: above it, in it, below it, beside it; the left end first."""
    (x0, y0, x1, y1), (wide, tall), (width, height) = box, plate, image
    steps = max(1, min(8, (x1 - x0 - wide) // max(1, wide // 2) + 1))
    xs = [x0 + (x1 - x0 - wide) * i // max(1, steps - 1) for i in range(steps)] + [x1 - wide]
    corners = [(x, y) for y in (y0 - tall, y0, y1 - tall, y1) for x in xs] + [(x0 - wide, y0), (x1, y0)]
    for x, y in corners:
        yield max(0, min(x, width - wide)), max(0, min(y, height - tall))


def _plate_of_opencv(text: str, size: int, colour: tuple[int, int, int]) -> np.ndarray:
    face = cv2.FONT_HERSHEY_SIMPLEX
    scale, thick = size / 30, max(1, size // 16)
    (wide, tall), below = cv2.getTextSize(text, face, scale, thick)
    plate = np.full((tall + below + 2, wide + 4, 3), colour, np.uint8)
    cv2.putText(plate, text, (2, tall + 1), face, scale, ink_on(colour), thick, cv2.LINE_AA)
    return plate


@lru_cache(maxsize=1 << 14)
def _font_for(name: str) -> str | None:
    """The first font that has all characters of a name: a file, or an empty text for the built-in one."""
    if ImageFont is None:
        if cv2 is None:
            raise RunnerError(
                "device", "this Python has neither cv2 nor PIL to draw with; install one (`pip3 install pillow`)"
            )
        return "" if name.isascii() else None
    chosen = os.environ.get(FONT_VARIABLE)
    if chosen:
        try:
            ImageFont.truetype(chosen)
        except OSError as error:
            raise RunnerError("data", f"{FONT_VARIABLE}={chosen} is no font that can be read: {error}") from error
    for file in ([chosen] if chosen else []) + [""]:
        if _has_all(file, name):
            return file
    return next((file for file in _installed() if _has_all(file, name)), None)


@lru_cache(maxsize=1 << 14)
def _installed() -> list[str]:
    """Font files of this machine, those with many scripts and of plain weight first."""
    files = [
        path
        for folder in _FOLDERS
        for path in Path(folder).expanduser().rglob("*")
        if path.suffix.lower() in (".ttf", ".ttc", ".otf")
    ]

    def rank(path: Path) -> Any:
        name = path.name.lower()
        return not any(part in name for part in _BROAD), "bold" in name or "italic" in name, "regular" not in name, name

    return [str(path) for path in sorted(files, key=rank)]


@lru_cache(maxsize=1 << 14)
def _has_all(file: str, text: str) -> bool:
    """Whether a font draws each character otherwise than one that it has not."""
    try:
        font = _sized(file, 16)
        nothing = bytes(font.getmask(_NOWHERE)) if file or hasattr(font, "getname") else b""
        masks = [bytes(font.getmask(character)) for character in set(text) if not character.isspace()]
    except (OSError, ValueError):  # no font after all; a bitmap font says so of what is not Latin-1
        return False
    return all(any(mask) and mask != nothing for mask in masks)


def _extent(font: Any, text: str) -> tuple[int, int, int, int]:
    if hasattr(font, "getbbox"):
        return font.getbbox(text)  # type: ignore[no-any-return]
    wide, tall = font.getsize(text)  # Pillow before 9.2
    return 0, 0, wide, tall


@lru_cache(maxsize=64)
def _sized(file: str, size: int) -> Any:
    if not file:
        try:
            return ImageFont.load_default(size)
        except TypeError:  # Pillow before 10.1 has one of a fixed size
            return ImageFont.load_default()
    if file.lower().endswith(".ttc"):
        return ImageFont.truetype(file, size, index=_simplified(file))
    return ImageFont.truetype(file, size)


@lru_cache(maxsize=1 << 14)
def _simplified(file: str) -> int:
    """Of a collection the face that draws Chinese as mainland China does; the first where there is none."""
    for index in range(16):
        try:
            family = ImageFont.truetype(file, 16, index=index).getname()[0] or ""
        except OSError:
            break
        if family.endswith(" SC"):
            return index
    return 0
