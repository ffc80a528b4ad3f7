"""Reading, letterboxing and writing pictures with OpenCV or, without it, Pillow.

Grey, palette, CMYK, alpha and 16-bit pictures are read as 8-bit RGB, turned upright as their EXIF orientation says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import headers
from .bounded import read_bounded
from .damage import noting
from .errors import RunnerError
from .whole import whole

cv2: Any
try:
    import cv2
except ImportError:  # the board's Python may have Pillow only, or neither
    cv2 = None

FILL = 114
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff")


class Placement:
    """Where an image lies on its square canvas: `scale` canvas pixels per image pixel, padding `left` and `top`."""

    def __init__(self, width: int, height: int, imgsz: int, align: str) -> None:
        self.width, self.height = width, height
        self.scale = imgsz / max(width, height)
        self.inner = max(1, round(width * self.scale)), max(1, round(height * self.scale))
        centred = align == "center"
        self.left = (imgsz - self.inner[0]) // 2 if centred else 0
        self.top = (imgsz - self.inner[1]) // 2 if centred else 0

    def to_image(self, rows: np.ndarray) -> np.ndarray:
        """Detections (n, 6) from canvas to image pixels, clipped; those that lie wholly in the padding are left out."""
        offset = np.array([self.left, self.top] * 2, np.float32)
        limit = np.array([self.width, self.height] * 2, np.float32)
        boxes = np.clip((rows[:, :4] - offset) / np.float32(self.scale), 0, limit)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        found: np.ndarray = np.concatenate([boxes, rows[:, 4:]], axis=1).astype(np.float32)[inside]
        return found


def letterbox(image: np.ndarray, imgsz: int, align: str, fill: int = FILL) -> tuple[np.ndarray, Placement]:
    """Resize an image (H, W, 3) to fit a square canvas and pad the rest with `fill`."""
    place = Placement(image.shape[1], image.shape[0], imgsz, align)
    if place.inner != (place.width, place.height):
        image = _resize(image, place.inner, shrinks=place.scale < 1)
    canvas = np.full((imgsz, imgsz, 3), fill, np.uint8)
    canvas[place.top : place.top + place.inner[1], place.left : place.left + place.inner[0]] = image
    return canvas, place


def read_picture(path: Path) -> np.ndarray:
    """Decode a file to RGB (H, W, 3).

    Raises:
        RunnerError: missing, truncated, no picture, of more pixels than `headers.limit_megapixels` allows, or there is
            nothing to decode it with.
    """
    try:
        data = read_bounded(path, headers.most_bytes())
    except OSError as error:
        raise RunnerError("image", f"image {path} cannot be read: {error.strerror or error}") from error
    refusal = headers.refusal(data)
    if refusal:
        raise RunnerError("image", f"image {path} {refusal}")
    with noting(path):
        image = _decode(data)
    if image is None:
        raise RunnerError("image", f"image {path} ({len(data)} bytes) {headers.DAMAGED}")
    return image


def is_turned(data: bytes, image: np.ndarray) -> bool:
    """Whether reading turned the picture upright, as its EXIF orientation says: its stored pixels are others."""
    if b"Exif" not in data[:65536]:
        return False
    if cv2 is None:
        from io import BytesIO

        return bool(_pillow().open(BytesIO(data)).getexif().get(0x0112, 1) != 1)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    stored = cv2.cvtColor(_to_8_bits(cv2.imdecode(np.frombuffer(data, np.uint8), flags)), cv2.COLOR_BGR2RGB)
    return not np.array_equal(stored, image)


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write RGB (H, W, 3) as the file name's suffix says.

    Raises:
        RunnerError: the disk refused.
    """
    with whole(path) as temporary:
        if cv2 is not None:
            done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            assert done
            temporary.write_bytes(data.tobytes())
        else:
            _pillow().fromarray(image).save(str(temporary))


def _resize(image: np.ndarray, size: tuple[int, int], shrinks: bool) -> np.ndarray:
    if cv2 is not None:
        resized: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return resized
    pillow = _pillow()
    return np.array(pillow.fromarray(image).resize(size, pillow.BOX if shrinks else pillow.BILINEAR))


def _decode(data: bytes) -> np.ndarray | None:
    if cv2 is not None:
        # turns by EXIF of its own accord; asked for colour, it reads no TIFF of grey floats
        kind = cv2.IMREAD_ANYCOLOR if data[:2] in (b"II", b"MM") else cv2.IMREAD_COLOR
        image = cv2.imdecode(np.frombuffer(data, np.uint8), kind | cv2.IMREAD_ANYDEPTH) if data else None
        if image is None:
            return None
        image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        rgb: np.ndarray = cv2.cvtColor(_to_8_bits(image), cv2.COLOR_BGR2RGB)
        return rgb
    from io import BytesIO

    try:
        picture = _pillow().open(BytesIO(data))
        picture = _pillow("ImageOps").exif_transpose(picture)
        if picture.mode[0] in "IF":  # grey of 16 bits or floats, which convert() would clip
            return np.repeat(_to_8_bits(np.array(picture)[..., None]), 3, axis=2)
        return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError):  # Pillow's ways to say that it cannot
        return None


def _to_8_bits(image: np.ndarray) -> np.ndarray:
    """Scale by the bits that are in use, so that 12 bits in a 16-bit file do not come out black."""
    if image.dtype == np.uint8:
        return image
    top = max(float(image.max()), 0.0)
    white = 1.0 if image.dtype.kind == "f" and top <= 1 else 2 ** max(8, int(np.ceil(np.log2(top + 1)))) - 1
    scaled: np.ndarray = np.rint(np.clip(image * (255.0 / white), 0, 255)).astype(np.uint8)
    return scaled


def _pillow(module: str = "Image") -> Any:
    try:
        import importlib

        found: Any = importlib.import_module("PIL." + module)
        if module == "Image":
            found.MAX_IMAGE_PIXELS = None  # `headers` has looked already, and may be told to allow more
        return found
    except ImportError as error:
        raise RunnerError(
            "device",
            "this Python has neither cv2 nor PIL to handle pictures; install one (`apt-get install python3-opencv` "
            "or `pip3 install pillow`), or evaluate over SSH, which sends ready-made pixels",
        ) from error
