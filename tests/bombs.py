"""Small files that declare far more pixels than they hold: opened by a careless reader, they take all memory."""

import struct
import zlib

import cv2
import numpy as np

SIDE = 32_000


def jpeg(width: int = SIDE, height: int = SIDE) -> bytes:
    """A picture of 64 x 64 pixels whose frame header lies."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_with_two_frames() -> bytes:
    """A second, honest-looking frame header in front of the one that counts."""
    data = jpeg()
    at = data.index(b"\xff\xc0")
    small = bytearray(data[at : at + 19])
    small[5:9] = struct.pack(">HH", 8, 8)
    return data[:at] + bytes(small) + data[at:]


def png(width: int = SIDE, height: int = SIDE, rows: int = 200) -> bytes:
    """All zeros, which deflate makes a thousandth of; only the first rows are there."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes((3 * min(width, SIDE) + 1) * rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bmp() -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 1 << 30, 0, 0, 54, 40, SIDE, -SIDE, 1, 24, 0, 0, 0, 0, 0, 0)


def gif() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0) + b"\x3b"


def webp() -> bytes:
    sides = struct.pack("<I", SIDE - 1)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + sides + sides


def tiff(order: str = "<") -> bytes:
    tags = [(256, 4, 1, SIDE), (257, 4, 1, SIDE)]
    entries = b"".join(struct.pack(order + "HHII", *tag) for tag in tags)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags)) + entries


def tiff_of_tiles() -> bytes:
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (322, 4, 1, SIDE), (323, 4, 1, SIDE)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries


ALL = {
    "frame-header.jpg": jpeg(),
    "two-frames.jpg": jpeg_with_two_frames(),
    "zeros.png": png(),
    "huge-ihdr.png": png(2**31 - 1, 2**31 - 1, 1),
    "a.bmp": bmp(),
    "a.gif": gif(),
    "a.webp": webp(),
    "a.tif": tiff(),
    "b.tif": tiff(">"),
    "tiles.tif": tiff_of_tiles(),
    "a.ppm": b"P6 # a comment\n32000 32000 255\n",
}
