"""The EXIF orientation of a picture: where it stands in the file, and how to turn the pixels by it."""

import struct

import numpy as np
from numpy.typing import NDArray

QUARTER_TURNS = 5
"""Orientations from which on width and height are swapped."""
_TAG = 0x0112


def orientation(data: bytes) -> int:
    """The EXIF orientation of a JPEG, PNG, WebP or TIFF, 1 to 8; 1 where there is none."""
    found = _find(data)
    return found[1] if found else 1


def without_orientation(data: bytes) -> bytes:
    """The same file with its orientation set to 1; no other byte changes."""
    found = _find(data)
    if not found or found[1] == 1:
        return data
    position, _, order = found
    return data[:position] + struct.pack(f"{order}H", 1) + data[position + 2 :]


def swaps_sides(value: int) -> bool:
    """Whether turning by an orientation swaps width and height."""
    return value >= QUARTER_TURNS


def turned(pixels: NDArray[np.uint8], value: int) -> NDArray[np.uint8]:
    """Stored pixels (H, W, C) as they are to be looked at."""
    if swaps_sides(value):
        pixels = pixels.swapaxes(0, 1)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(value, ())
    return np.ascontiguousarray(np.flip(pixels, flips))


def turned_box(
    box: tuple[float, float, float, float], size: tuple[float, float], value: int
) -> tuple[float, float, float, float]:
    """A box (`xyxy`, px) of stored pixels as it lies on the turned ones; `size` is width and height as stored."""
    x0, y0, x1, y1 = box
    width, height = size
    if swaps_sides(value):
        x0, y0, x1, y1, width, height = y0, x0, y1, x1, height, width
    if value in (2, 3, 6, 7):
        x0, x1 = width - x1, width - x0
    if value in (3, 4, 7, 8):
        y0, y1 = height - y1, height - y0
    return x0, y0, x1, y1


def _find(data: bytes) -> tuple[int, int, str] | None:
    """Position, value and byte order of the tag."""
    try:
        start = _tiff_start(data)
        if start is None:
            return None
        order = {b"II": "<", b"MM": ">"}[data[start : start + 2]]
        (first,) = struct.unpack_from(f"{order}I", data, start + 4)
        (count,) = struct.unpack_from(f"{order}H", data, start + first)
        for i in range(count):
            entry = start + first + 2 + 12 * i
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            if tag == _TAG and kind == 3:
                (value,) = struct.unpack_from(f"{order}H", data, entry + 8)
                return (entry + 8, value, order) if 1 <= value <= 8 else None
    except (struct.error, KeyError):  # a damaged block says nothing
        return None
    return None


def _tiff_start(data: bytes) -> int | None:
    if data[:2] == b"\xff\xd8":
        return _in_jpeg(data)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return 0
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _in_chunks(data, 8, b"eXIf", ">", name_first=False)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _in_chunks(data, 12, b"EXIF", "<", name_first=True)
    return None


def _in_jpeg(data: bytes) -> int | None:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        if data[position + 1] == 0xFF:
            position += 1
            continue
        if data[position + 1] == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            return position + 10
        position += 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
    return None


def _in_chunks(data: bytes, position: int, wanted: bytes, order: str, name_first: bool) -> int | None:
    while position + 8 <= len(data):
        name, size = data[position : position + 4], data[position + 4 : position + 8]
        if not name_first:
            name, size = size, name
        start = position + 8
        if name == wanted:
            return start + 6 if data[start : start + 6] == b"Exif\0\0" else start
        (length,) = struct.unpack(f"{order}I", size)
        position = start + length + (length % 2 if name_first else 4)  # RIFF pads, PNG adds a checksum
    return None
