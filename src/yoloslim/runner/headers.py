"""How many pixels a picture declares, read from its first bytes: a small file may ask for more than any memory holds.

JPEG, PNG, BMP, GIF, WebP, TIFF and PNM are known; what else a decoder might take is refused, since nothing is known
of its size.
"""

from __future__ import annotations

import re
import struct

from .instead import instead

MEGAPIXELS = 128.0
"""Most that is decoded unless `limit_megapixels` says otherwise, millions of pixels: 0.4 GB of RGB."""

DAMAGED = "is no image that can be decoded: cut short or damaged; copy it again, or remove it"
"""The rest of a sentence on a file that a decoder gives up."""

_limit = [MEGAPIXELS]
_BEGINNINGS: dict[str, bytes | tuple[bytes, ...]] = {
    "JPEG": b"\xff\xd8",
    "PNG": b"\x89PNG",
    "BMP": b"BM",
    "GIF": b"GIF8",
    "WebP": b"RIFF",
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
_PNM = re.compile(rb"P[1-6](?:\s|#[^\r\n]*[\r\n])+(\d{1,18})(?:\s|#[^\r\n]*[\r\n])+(\d{1,18})\s")
_SIDES = (256, 257)
_TILE = (322, 323)
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""TIFF's whole numbers, as `struct` calls them."""


def limit_megapixels(megapixels: float) -> None:
    """Decode no picture of more than so many million pixels from now on, anywhere in this process."""
    _limit[0] = megapixels


def most_bytes() -> float:
    """Size of the largest file that a picture of so many pixels can need: four channels of 32 bits, and some more."""
    return 16 * _limit[0] * 1e6 + 2**26


def refusal(data: bytes) -> str:
    """Why the bytes of a file are not to be decoded, as the rest of a sentence; empty where they may be."""
    if is_jpeg(data) and not _jpeg_is_complete(data):
        return f"is a truncated JPEG ({len(data)} bytes, no end marker); copy it again, or remove it"
    size = picture_size(data)
    if size is not None:
        return too_many(*size)
    other = instead(data)
    if other:
        return f"is {other}"
    if not data:
        return "is empty (0 bytes); copy it again, or remove it"
    kind = next((name for name, starts in _BEGINNINGS.items() if data.startswith(starts)), "")
    if kind:
        return f"({len(data)} bytes) begins as {kind} and does not say its size, so it {DAMAGED}"
    return f"({len(data)} bytes) is no image that can be decoded; give JPEG, PNG, BMP, WebP or TIFF"


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes start as a JPEG file does."""
    return data[:3] == b"\xff\xd8\xff"


def too_many(width: int, height: int) -> str:
    """Why a picture of so many pixels is not to be decoded; empty where it may be."""
    if width * height <= _limit[0] * 1e6:
        return ""
    return (
        f"declares {width} x {height} pixels, {_millions(width * height)} million, and no more than {_limit[0]:g} "
        "million are decoded; if it is no mistake, raise max_megapixels"
    )


def _millions(pixels: int) -> str:
    """Of large pictures whole millions, of small ones two digits that tell."""
    return f"{pixels / 1e6:.0f}" if pixels >= 1e7 else f"{pixels / 1e6:.2g}"


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that the bytes of a picture declare; None where they are of no known format, or too few."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return struct.unpack(">II", data[16:24]) if data[12:16] == b"IHDR" else None
        if data[:2] == b"BM":
            if data[14:18] == b"\x0c\0\0\0":
                return struct.unpack("<HH", data[18:22])
            width, height = struct.unpack("<ii", data[18:26])
            return abs(width), abs(height)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return struct.unpack("<HH", data[6:10])
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(data)
    except struct.error:  # cut short
        return None
    match = _PNM.match(data[:4096])
    return (int(match.group(1)), int(match.group(2))) if match else None


def _jpeg_is_complete(data: bytes) -> bool:
    # libjpeg fills the missing rest with grey and only prints a warning, so the end marker is looked for here.
    # Segments before the scan are skipped by their length: a thumbnail inside EXIF has an end marker of its own.
    # Inside the scan the two bytes cannot occur, since JPEG escapes 0xFF there.
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xFF:  # fill byte before a marker
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] == 0xDA:
            return data.find(b"\xff\xd9", position + 2 + length) >= 0
        position += 2 + length
    return False


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """The largest frame before the first scan; segments are skipped by length, as they may hold thumbnails."""
    found, position = None, 2
    while True:
        position = data.find(b"\xff", position)
        while position >= 0 and data[position : position + 1] == b"\xff":
            position += 1
        if position < 0 or position >= len(data):
            return found
        marker = data[position]
        position += 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            continue  # they have no length
        if marker in (0xD9, 0xDA):
            return found
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 3 : position + 7])
            found = max(found or (0, 0), (width, height), key=lambda size: size[0] * size[1])
        position += max(2, struct.unpack(">H", data[position : position + 2])[0])


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (struct.unpack("<I", data[at : at + 3] + b"\0")[0] + 1 for at in (24, 27))
        return width, height
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    """The first page, or one of its tiles where that is larger."""
    order, big = ("<" if data[:1] == b"I" else ">"), 43 in data[2:4]
    (start,) = struct.unpack(order + ("Q" if big else "I"), data[8:16] if big else data[4:8])
    count_bytes, entry, value_at = (8, 20, 12) if big else (2, 12, 8)
    (count,) = struct.unpack(order + ("Q" if big else "H"), data[start : start + count_bytes])
    values = dict.fromkeys((*_SIDES, *_TILE), 0)
    for i in range(min(count, 65535)):
        at = start + count_bytes + i * entry
        tag, kind = struct.unpack(order + "HH", data[at : at + 4])
        if tag in values and kind in _TYPES:
            code = order + _TYPES[kind]
            value = struct.unpack(code, data[at + value_at : at + value_at + struct.calcsize(code)])[0]
            values[tag] = max(values[tag], value)
    sizes = [(values[width], values[height]) for width, height in (_SIDES, _TILE)]
    return max(sizes, key=lambda size: size[0] * size[1]) if all(sizes[0]) else None
