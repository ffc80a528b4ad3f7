"""Boxes and letterbox geometry, used by everything below.

A box is `xyxy` in pixels, continuous and half-open: the pixel in the top-left corner spans (0, 0, 1, 1).
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

FILL = 114
"""Grey level (0-255) that letterboxing pads with, by convention of the YOLO family."""

Align = Literal["center", "topleft"]


@dataclass(frozen=True)
class Letterbox:
    """Where a resized image lies on its square canvas.

    Attributes:
        scale: canvas pixels per image pixel.
        left: columns of padding before the image.
        top: rows of padding above the image.
        width: columns of the resized image.
        height: rows of the resized image.
        imgsz: side of the canvas in pixels.
    """

    scale: float
    left: int
    top: int
    width: int
    height: int
    imgsz: int

    def to_canvas(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map `xyxy` boxes (n, 4) from image pixels to canvas pixels."""
        return np.asarray(boxes * self.scale + self._offset(), np.float32)

    def to_image(self, boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
        """Map `xyxy` boxes (n, 4) from canvas pixels to pixels of an image of that size, clipped to it."""
        image = (boxes - self._offset()) / np.float32(self.scale)
        limit = np.array([width, height, width, height], np.float32)
        return np.asarray(np.clip(image, 0, limit), np.float32)

    def detections_to_image(self, rows: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
        """Map detections (n, 6), `xyxy` first, likewise; those that lie wholly in the padding are left out."""
        boxes = self.to_image(rows[:, :4], width, height)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return np.concatenate([boxes, rows[:, 4:]], axis=1).astype(np.float32)[inside]

    def _offset(self) -> NDArray[np.float32]:
        return np.array([self.left, self.top, self.left, self.top], np.float32)


def fit(width: int, height: int, imgsz: int, align: Align = "center") -> Letterbox:
    """Geometry that makes the longest side `imgsz` pixels and keeps the aspect ratio."""
    scale = imgsz / max(width, height)
    new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
    left = (imgsz - new_w) // 2 if align == "center" else 0
    top = (imgsz - new_h) // 2 if align == "center" else 0
    return Letterbox(scale, left, top, new_w, new_h, imgsz)


def letterbox(
    image: NDArray[np.uint8], imgsz: int, align: Align = "center", fill: int = FILL
) -> tuple[NDArray[np.uint8], Letterbox]:
    """Resize an image (H, W, 3) to fit a square canvas (imgsz, imgsz, 3) and pad the rest with `fill`.

    Every runtime and every stage prepares images with this function, so that none sees other pixels.
    """
    geometry = fit(image.shape[1], image.shape[0], imgsz, align)
    canvas = np.full((imgsz, imgsz, 3), fill, np.uint8)
    place(canvas, resized(image, geometry), geometry)
    return canvas, geometry


def resized(image: NDArray[np.uint8], geometry: Letterbox) -> NDArray[np.uint8]:
    """An image (H, W, 3) in the size that it has on its canvas."""
    if (geometry.height, geometry.width) == image.shape[:2]:
        return image
    shrinks = geometry.scale < 1
    return np.asarray(
        cv2.resize(
            image,
            (geometry.width, geometry.height),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        ),
        np.uint8,
    )


def place(canvas: NDArray[np.uint8], image: NDArray[np.uint8], geometry: Letterbox) -> None:
    """Write a resized image where it lies on its canvas."""
    rows = slice(geometry.top, geometry.top + geometry.height)
    columns = slice(geometry.left, geometry.left + geometry.width)
    canvas[rows, columns] = image


def iou_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union of all boxes of `a` (n, 4) with all of `b` (m, 4): (n, m) in [0, 1]."""
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    overlap = np.maximum(size, 0).prod(axis=2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(axis=1)
    return overlap / np.maximum(area_a[:, None] + area_b[None] - overlap, 1e-9)  # type: ignore[no-any-return]
