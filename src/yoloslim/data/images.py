"""Image files as RGB: decoded, turned upright, and brought to 8 bits."""

import math
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.data.exif import orientation, turned
from yoloslim.errors import DataError
from yoloslim.runner import headers
from yoloslim.runner.bounded import read_bounded
from yoloslim.runner.damage import noting


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image file to RGB (H, W, 3), upright.

    Grey, palette, CMYK and alpha images come out as 8-bit RGB, those of more bits by `to_8_bits` with their own range.
    An EXIF orientation is followed; the images of a prepared folder have none.

    Raises:
        DataError: missing, truncated, no image, or of more pixels than `headers.limit_megapixels` allows.
    """
    return image_from(read_image_bytes(path), path)


def image_from(data: bytes, path: Path) -> NDArray[np.uint8]:
    """As `read_image`, from the bytes of the file `path`."""
    pixels = decode_image(data, path)
    return to_8_bits(turned(pixels, orientation(data)), white_of(pixels))


def read_image_bytes(path: Path) -> bytes:
    """The file as it is.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return read_bounded(path, headers.most_bytes())
    except OSError as error:
        raise DataError(f"image {path} cannot be read: {error.strerror or error}") from error


def decode_image(data: bytes, path: Path) -> NDArray[Any]:
    """Decode the bytes of the image file `path` to RGB (H, W, 3), as stored: not turned, uint8, uint16 or float32.

    Raises:
        DataError: truncated, no image, or floats that are not finite.
    """
    refusal = headers.refusal(data)
    if refusal:
        raise DataError(f"image {path} {refusal}")
    kind = cv2.IMREAD_ANYCOLOR if is_tiff(data) else cv2.IMREAD_COLOR  # asked for colour, OpenCV reads no grey floats
    try:
        with noting(path):
            image = _decoded(data, kind | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise DataError(f"image {path} cannot be decoded: {error.err}") from error
    if image is None:
        raise DataError(f"image {path} ({len(data)} bytes) {headers.DAMAGED}")
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise DataError(f"image {path} has pixels that are not finite numbers")
    if is_tiff(data):  # OpenCV turns every TIFF, whatever it is asked
        image = turned(image, {6: 8, 8: 6}.get(orientation(data), orientation(data)))
    image = image.astype(np.float32) if image.dtype.kind == "f" else image
    rgb: NDArray[Any] = np.ascontiguousarray(image[..., ::-1])
    return rgb


def white_of(pixels: NDArray[Any]) -> float:
    """The value that becomes 255: all bits that are in use set (255, 4095 ...), or 1 for floats up to 1.

    A 12-bit picture in a 16-bit file is nearly black when it is scaled by what the file could hold.
    """
    if pixels.dtype == np.uint8:
        return 255.0
    top = float(pixels.max())
    if pixels.dtype.kind == "f" and top <= 1:
        return 1.0
    return float(2 ** max(8, math.ceil(math.log2(top + 1))) - 1)


def to_8_bits(pixels: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Scale so that `white` becomes 255; 8-bit pixels stay as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.rint(np.clip(pixels.astype(np.float64) * (255 / white), 0, 255)).astype(np.uint8)


def _decoded(data: bytes, flags: int) -> Any:
    if not data:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)


def is_tiff(data: bytes) -> bool:
    """Whether the bytes start as a TIFF file does."""
    return data[:2] in (b"II", b"MM")


def holds_more(data: bytes) -> bool:
    """Whether a file holds further pictures behind the first, which alone is decoded: pages or frames."""
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X":
        return any(flags & 2 for flags in data[20:21])
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"acTL" in data[: max(0, data.find(b"IDAT"))]
    if not is_tiff(data) or data[2:4] not in (b"*\0", b"\0*"):
        return False
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    first = int.from_bytes(data[4:8], order)
    after = first + 2 + 12 * int.from_bytes(data[first : first + 2], order)
    return any(data[after : after + 4])
