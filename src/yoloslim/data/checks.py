"""What is wrong with an image or its boxes: found here, counted in `report`, acted on in `prepare`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yoloslim.data.images import decode_image, read_image_bytes
from yoloslim.data.voc import Annotation, RawAnnotation, RawObject, annotation_from, class_index, half_open

Box = tuple[float, float, float, float]


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


@dataclass(frozen=True)
class ImageFacts:
    """What decoding an image tells: its real size, and keys equal for equal bytes and for equal pixels."""

    width: int
    height: int
    bytes_key: str
    pixels_key: str


def inspect_image(path: Path) -> ImageFacts:
    """Decode an image to see that it can be, and hash it.

    Raises:
        DataError: missing, truncated, or no image.
    """
    data = read_image_bytes(path)
    pixels = decode_image(data, path)
    height, width = pixels.shape[:2]
    pixels_key = hashlib.sha256(pixels.tobytes() + f"{width}x{height}".encode()).hexdigest()
    return ImageFacts(width, height, hashlib.sha256(data).hexdigest(), pixels_key)


def clean_boxes(
    raw: RawAnnotation, size: tuple[int, int], classes: Sequence[str], min_box_px: float, path: Path
) -> Cleaned:
    """Drop boxes without area, under `min_box_px` a side or outside the image; clip those partly outside.

    Args:
        raw: the annotation as written.
        size: real width and height of the image in pixels.
        classes: the known classes.
        min_box_px: shortest side in pixels that a box keeps after clipping.
        path: the XML file, for messages.

    Raises:
        DataError: a class that is not in `classes`.
    """
    width, height = size
    boxes: list[Box] = []
    kept: list[RawObject] = []
    dropped: list[BoxNote] = []
    clipped: list[BoxNote] = []
    labels: list[int] = []
    for item in raw.objects:
        label = class_index(item.name, classes, path)
        x1, y1, x2, y2 = half_open(item.box)
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        reason = _why_dropped(item.box, box, min_box_px)
        if reason:
            dropped.append(BoxNote(path.name, item.name, item.box, reason))
            continue
        if box != (x1, y1, x2, y2):
            note = f"partly outside the {width}x{height} image"
            clipped.append(BoxNote(path.name, item.name, item.box, note))
        boxes.append(box)
        labels.append(label)
        kept.append(item)
    difficult = [item.difficult for item in kept]
    truncated = [item.truncated for item in kept]
    return Cleaned(annotation_from(width, height, boxes, labels, difficult, truncated), dropped, clipped)


def _why_dropped(written: Box, clipped: Box, min_box_px: float) -> str:
    if written[2] < written[0] or written[3] < written[1]:
        return "corners are swapped"
    if written[2] == written[0] or written[3] == written[1]:
        return "zero area"
    side = min(clipped[2] - clipped[0], clipped[3] - clipped[1])
    if side <= 0:
        return "outside the image"
    if side < min_box_px:
        return f"shorter side {side:g} px is under min_box_px={min_box_px:g}"
    return ""
