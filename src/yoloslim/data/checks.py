"""What is wrong with an image or its boxes: found here, counted in `report`, acted on in `prepare`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yoloslim.data.exif import orientation
from yoloslim.data.images import decode_image, holds_more, read_image_bytes, white_of
from yoloslim.data.voc import Annotation, RawAnnotation, RawObject, Units, annotation_from, class_index, half_open

Box = tuple[float, float, float, float]
CLIP_SLACK = {"voc": 0.0, "pixels": 0.51, "shares": 0.51}
"""px that a box may reach over the edge without a word: shares and floats are rounded."""
UNDER_MIN = "is under min_box_px"
"""Part of the reason why a box was dropped that somebody asked for."""


@dataclass(frozen=True)
class BoxNote:
    """A box that was dropped or clipped: file, class, the box as written there, and why."""

    file: str
    name: str
    box: Box
    reason: str

    def as_dict(self) -> dict[str, object]:
        """The note as JSON."""
        return {"file": self.file, "class": self.name, "box": list(self.box), "reason": self.reason}


@dataclass
class Cleaned:
    """Sound boxes of one image, and what became of the others."""

    annotation: Annotation
    dropped: list[BoxNote] = field(default_factory=list)
    clipped: list[BoxNote] = field(default_factory=list)
    swapped: list[BoxNote] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What decoding an image tells.

    Attributes:
        size: columns and rows as stored, px.
        orientation: of EXIF, 1 to 8.
        white: see `images.white_of`; 255 for 8 bits.
        more: whether the file holds further pictures, which are not used.
        bytes_key: equal for equal bytes.
        pixels_key: equal for equal pixels.
    """

    size: tuple[int, int]
    orientation: int
    white: float
    more: bool
    bytes_key: bytes
    pixels_key: bytes


def inspect_image(path: Path) -> ImageFacts:
    """Decode an image to see that it can be, and hash it.

    Raises:
        DataError: missing, truncated, or no image.
    """
    data = read_image_bytes(path)
    pixels = decode_image(data, path)
    height, width = pixels.shape[:2]
    pixels_key = hashlib.sha256(pixels.tobytes() + f"{width}x{height}".encode()).digest()
    bytes_key = hashlib.sha256(data).digest()
    return ImageFacts((width, height), orientation(data), white_of(pixels), holds_more(data), bytes_key, pixels_key)


def clean_boxes(
    raw: RawAnnotation, size: tuple[int, int], classes: Sequence[str], min_box_px: float, path: Path, name: str = ""
) -> Cleaned:
    """Drop boxes without area, under `min_box_px` a side or outside the image; clip those partly outside.

    Corners in the wrong order are swapped and noted.

    Args:
        raw: the annotation as written.
        size: real width and height of the image in pixels.
        classes: the known classes.
        min_box_px: shortest side in pixels that a box keeps after clipping.
        path: the file that holds the annotation, for messages.
        name: of the image, for notes, where that file is about several.

    Raises:
        DataError: a class that is not in `classes`.
    """
    width, height = size
    boxes: list[Box] = []
    kept: list[RawObject] = []
    where = f"{path.name}, {name}" if name else path.name
    found = Cleaned(annotation_from(width, height, [], [], [], []))
    labels: list[int] = []
    for item in raw.objects:
        label = class_index(item.name, classes, path)
        written = (*_ordered(item.box[0], item.box[2]), *_ordered(item.box[1], item.box[3]))
        corners = written[0], written[2], written[1], written[3]
        x1, y1, x2, y2 = in_pixels(corners, raw.units, size)
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        reason = _why_dropped(corners, box, min_box_px)
        if reason:
            found.dropped.append(BoxNote(where, item.name, item.box, reason))
            continue
        if corners != item.box:
            found.swapped.append(BoxNote(where, item.name, item.box, "corners were swapped"))
        if max(abs(a - b) for a, b in zip(box, (x1, y1, x2, y2), strict=True)) > CLIP_SLACK[raw.units]:
            note = f"partly outside the {width}x{height} image"
            found.clipped.append(BoxNote(where, item.name, item.box, note))
        boxes.append(box)
        labels.append(label)
        kept.append(item)
    difficult = [item.difficult for item in kept]
    truncated = [item.truncated for item in kept]
    found.annotation = annotation_from(width, height, boxes, labels, difficult, truncated)
    return found


def _ordered(a: float, b: float) -> tuple[float, float]:
    return (a, b) if a <= b else (b, a)


def in_pixels(box: Box, units: Units, size: tuple[int, int]) -> Box:
    """Corners as this project holds them; `size` is width and height of the image, px."""
    if units == "voc":
        return half_open(box)
    if units == "pixels":
        return box
    return box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]


def _why_dropped(written: Box, clipped: Box, min_box_px: float) -> str:
    if written[2] == written[0] or written[3] == written[1]:
        return "zero area"
    side = min(clipped[2] - clipped[0], clipped[3] - clipped[1])
    if side <= 0:
        return "outside the image"
    if side < min_box_px:
        return f"shorter side {side:g} px {UNDER_MIN}={min_box_px:g}"
    return ""
