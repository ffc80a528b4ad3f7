"""Image files as 8-bit RGB."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import DataError
from yoloslim.runner import headers


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image file to RGB (H, W, 3).

    Grey, palette, CMYK, alpha and 16-bit images come out as 8-bit RGB. An EXIF orientation is ignored, as VOC's
    own tools do: boxes belong to the pixels as stored.

    Raises:
        DataError: missing, truncated, no image, or of more pixels than `headers.limit_megapixels` allows.
    """
    return decode_image(read_image_bytes(path), path)


def read_image_bytes(path: Path) -> bytes:
    """The file as it is.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"image {path} cannot be read: {error.strerror or error}") from error


def decode_image(data: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode the bytes of the image file `path`; see `read_image`."""
    if is_jpeg(data) and not _jpeg_is_complete(data):
        raise DataError(f"image {path} is a truncated JPEG ({len(data)} bytes, no end marker); copy it again")
    refusal = headers.refusal(data)
    if refusal:
        raise DataError(f"image {path} {refusal}")
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise DataError(f"image {path} cannot be decoded: {error.err}") from error
    if image is None:
        raise DataError(f"image {path} ({len(data)} bytes) is no image that can be decoded; replace or remove it")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[no-any-return]


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes start as a JPEG file does."""
    return data[:3] == b"\xff\xd8\xff"


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
