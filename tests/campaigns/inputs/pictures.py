"""Pictures: bombs, cut, damaged, of the wrong kind; given to `data`, `detect`, `quantize`, `features`."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.campaigns.assets import Assets, data_stage, jpeg
from tests.campaigns.harness import Case


def _png(width: int, height: int, body: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _resized_jpeg(width: int, height: int) -> bytes:
    """A small JPEG that declares another size."""
    data = bytearray(jpeg(np.random.default_rng(1)))
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC1, 0xC2))
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _bmp(width: int, height: int, size: int = 54) -> bytes:
    header = b"BM" + struct.pack("<IHHI", size, 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def _tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 100)]
    return (
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags) + bytes(4)
    )


def _webp(width: int, height: int) -> bytes:
    body = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0"
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


GOOD = jpeg(np.random.default_rng(0))
BOMBS: dict[str, tuple[str, bytes]] = {
    "jpeg of 32000 x 32000": ("jpg", _resized_jpeg(32000, 32000)),
    "jpeg of 65500 x 65500": ("jpg", _resized_jpeg(65500, 65500)),
    "png of 32000 x 32000": ("png", _png(32000, 32000, zlib.compress(bytes(10**6)))),
    "png of 100000 x 100000": ("png", _png(100000, 100000, zlib.compress(bytes(100)))),
    "png of 2**31-1": ("png", _png(2**31 - 1, 2**31 - 1)),
    "bmp of 30000 x 30000": ("bmp", _bmp(30000, 30000)),
    "tiff of 40000 x 40000": ("tif", _tiff(40000, 40000)),
    "webp of 16383 x 16383": ("webp", _webp(16383, 16383)),
}
BROKEN: dict[str, tuple[str, bytes]] = {
    "empty": ("jpg", b""),
    "text": ("jpg", b"no picture"),
    "html": ("jpg", b"<html><body>404</body></html>"),
    "only a marker": ("jpg", b"\xff\xd8\xff"),
    "jpeg cut at a half": ("jpg", GOOD[: len(GOOD) // 2]),
    "jpeg cut by 2 bytes": ("jpg", GOOD[:-2]),
    "jpeg without scan": ("jpg", GOOD[:200] + b"\xff\xd9"),
    "jpeg of 0 x 0": ("jpg", _resized_jpeg(0, 0)),
    "png cut": ("png", _png(64, 48, zlib.compress(bytes(48 * 193)))[:60]),
    "png without data": ("png", _png(64, 48)),
    "png with a wrong checksum": ("png", _png(64, 48, zlib.compress(bytes(48 * 193))).replace(b"IHDR", b"IHDS")),
    "png of 0 x 0": ("png", _png(0, 0)),
    "png of depth 7": ("png", _png(64, 48, zlib.compress(bytes(48 * 193)), depth=7)),
    "bmp cut": ("bmp", _bmp(64, 48)[:30]),
    "bmp of negative width": ("bmp", _bmp(-64, 48)),
    "tiff cut": ("tif", _tiff(64, 48)[:20]),
    "webp cut": ("webp", _webp(64, 48)[:20]),
    "gif": ("png", b"GIF89a\x01\0\x01\0\0\0\0;"),
    "svg": ("png", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "zip": ("jpg", b"PK\x03\x04" + bytes(100)),
    "random bytes": ("jpg", np.random.default_rng(3).bytes(5000)),
}
ODD: dict[str, tuple[str, bytes]] = {
    "jpeg of one pixel": ("jpg", cv2.imencode(".jpg", np.zeros((1, 1, 3), np.uint8))[1].tobytes()),
    "png of 1 x 3000": ("png", cv2.imencode(".png", np.zeros((3000, 1, 3), np.uint8))[1].tobytes()),
    "png of 3000 x 1": ("png", cv2.imencode(".png", np.zeros((1, 3000, 3), np.uint8))[1].tobytes()),
    "png of 16 bits": ("png", cv2.imencode(".png", np.zeros((48, 64), np.uint16))[1].tobytes()),
    "jpeg with bytes behind": ("jpg", GOOD + b"more" * 100),
    "jpeg with a flipped byte": ("jpg", GOOD[:700] + b"\x13" + GOOD[701:]),
    "jpeg named png": ("png", GOOD),
}


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    for name, (suffix, data) in (BROKEN | BOMBS).items():
        yield Case(f"images/data: {name}", _data(assets, suffix, data), "said", "image00")
        yield Case(f"images/detect: {name}", _detect(assets, suffix, data), "refused", f"image.{suffix}")
    for name, (suffix, data) in ODD.items():
        yield Case(f"images/data: {name}", _data(assets, suffix, data), "answered")
        yield Case(f"images/detect: {name}", _detect(assets, suffix, data), "answered")
    for name in ("jpeg of 32000 x 32000", "png of 32000 x 32000"):
        yield Case(f"images/features: {name}", _features(assets, *BOMBS[name]), "refused", "image.")
        yield Case(f"images/quantize: {name}", _quantize(assets, *BOMBS[name]), "said", "image.")
        yield Case(f"images/speed: {name}", _detect(assets, *BOMBS[name], command="speed"), "refused", "image.")
    for name in ("text", "jpeg cut at a half"):
        yield Case(f"images/quantize: {name}", _quantize(assets, *BROKEN[name]), "said", "image.")
    yield Case("images/data: 100 GB of nothing", _data(assets, "jpg", GOOD, sparse=100 * 2**30), "said", "image00")
    yield Case(
        "images/detect: 100 GB of nothing", _detect(assets, "jpg", GOOD, sparse=100 * 2**30), "refused", "image.jpg"
    )
    yield Case(
        "images/quantize: 100 GB of nothing", _quantize(assets, "jpg", GOOD, sparse=100 * 2**30), "said", "image."
    )
    yield Case("images/detect: a pipe", _detect(assets, "jpg", GOOD, sparse=-1), "refused", "image.jpg")
    for suffix in ("mp4", "avi"):
        yield Case(
            f"images/detect: a broken {suffix}",
            _detect(assets, suffix, bytes(range(256)) * 20),
            "refused",
            f"image.{suffix}",
        )
    yield Case("images/detect: missing", lambda folder: ["yoloslim", "detect", str(assets.model), "none.jpg"])
    yield Case("images/detect: an empty folder", lambda folder: ["yoloslim", "detect", str(assets.model), "."])
    yield Case("images/detect: camera 99", lambda folder: ["yoloslim", "detect", str(assets.model), "99"])


def _data(assets: Assets, suffix: str, data: bytes, sparse: int = 0) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        root = assets.voc(folder / "voc")
        (root / "JPEGImages" / "image00.jpg").unlink()
        _write(root / "JPEGImages" / f"image00.{suffix}", data, sparse)
        return data_stage(folder, root)

    return make


def _detect(
    assets: Assets, suffix: str, data: bytes, command: str = "detect", sparse: int = 0
) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        _write(folder / f"image.{suffix}", data, sparse)
        return ["yoloslim", command, str(assets.model), f"image.{suffix}"]

    return make


def _features(assets: Assets, suffix: str, data: bytes, sparse: int = 0) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        _write(folder / f"image.{suffix}", data, sparse)
        return ["yoloslim", "features", str(assets.model), f"image.{suffix}"]

    return make


def _quantize(assets: Assets, suffix: str, data: bytes, sparse: int = 0) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        images = assets.voc(folder / "voc") / "JPEGImages"
        _write(images / f"image.{suffix}", data, sparse)
        return ["yoloslim", "quantize", str(assets.copy(assets.export, folder)), str(images)]

    return make


def _write(path: Path, data: bytes, sparse: int) -> None:
    """A file of these bytes, with so many behind them that take no room; or a pipe, where they are -1."""
    if sparse < 0:
        os.mkfifo(path)
        return
    path.write_bytes(data)
    if sparse:
        os.truncate(path, sparse)
