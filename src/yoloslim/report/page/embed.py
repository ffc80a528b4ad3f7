"""Pictures as data URIs, so that the page asks for no other file."""

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PHOTOGRAPH_BYTES = 500_000
"""A PNG larger than this shows photographs, of which WebP needs a tenth of the room."""
SIDE = 640
"""Longest side of a photograph on the page, px."""
SCALE = 1.42
"""Pixels of a picture in one of the page, so that 11 inches fill its width."""


def photograph(image: NDArray[np.uint8]) -> str:
    """An RGB image (H, W, 3), made smaller where it is larger than the page shows it."""
    shrink = SIDE / max(image.shape[:2])
    pixels: Any = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else image
    return _webp(pixels[..., ::-1], 82)


def embedded_picture(path: Path) -> tuple[str, int]:
    """A PNG, and its width on the page, px."""
    content, pixels = path.read_bytes(), cv2.imread(str(path))
    assert pixels is not None  # matplotlib has just written it
    png = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return _webp(pixels, 80) if len(content) > PHOTOGRAPH_BYTES else png, round(pixels.shape[1] / SCALE)


def _webp(pixels: Any, quality: int) -> str:
    encoded = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    return f"data:image/webp;base64,{base64.b64encode(encoded).decode()}"
