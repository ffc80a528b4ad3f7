"""Faults of a whole data set that no single image shows: how boxes are written, which way pictures are turned, how
many bits they use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.exif import swaps_sides
from yoloslim.data.voc import RawAnnotation
from yoloslim.data.yolo_labels import SLACK
from yoloslim.errors import DataError

ENOUGH = 10
"""Boxes from which on a pattern is one."""
MANY = 100
"""Boxes that do not all lie in the upper left quarter by chance, as corners in the wrong order must to fit as sizes."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """What decoding an image tells that the whole set has to decide on.

    Attributes:
        width: columns as stored, px.
        height: rows as stored, px.
        orientation: of EXIF, 1 to 8.
        white: see `images.white_of`; 255 for 8 bits.
    """

    width: int
    height: int
    orientation: int
    white: float


def refuse_other_conventions(raws: Sequence[RawAnnotation]) -> None:
    """Refuse boxes that are written as x, y, width, height, or as shares, where corners in pixels are meant, or as
    corners where width and height are.

    Raises:
        DataError: every box looks so, and there are enough of them.
    """
    _refuse_corners(np.concatenate([np.zeros((0, 4)), *(_rows(raw) for raw in raws if raw.units == "shares")]))
    meant = [raw for raw in raws if raw.units != "shares"]
    boxes = np.concatenate([np.zeros((0, 4)), *map(_rows, meant)])
    if len(boxes) < ENOUGH:
        return
    if ((boxes >= 0) & (boxes <= 1)).all():
        raise DataError(
            f"all {len(boxes)} boxes lie between 0 and 1: they look like shares of the image, where pixels are meant; "
            "multiply them by width and height"
        )
    backwards = boxes[:, 2:] < boxes[:, :2]
    either, both = int(backwards.any(1).sum()), int(backwards.all(1).sum())
    sizes = np.repeat([(raw.width, raw.height) for raw in meant], [len(raw) for raw in meant], axis=0)
    fits = sizes[:, 0].all() and (boxes[:, :2] + boxes[:, 2:] <= sizes + 1).all()
    sides = boxes[:, 2:] - boxes[:, :2]
    beyond = (boxes[:, 2:] > sizes + 1).any(1)
    if beyond.mean() > 0.2 and sizes.all() and ((sides > boxes[:, :2]) & (sides <= sizes + 1)).all():
        raise DataError(
            f"{int(beyond.sum())} of {len(boxes)} boxes reach out of their images, and all would fit as corners "
            "(xmin, ymin, xmax, ymax) where x, y, width, height are meant; write width and height instead"
        )
    if fits and either / len(boxes) > 0.2 and (both < 0.9 * len(boxes) or len(boxes) >= MANY):
        raise DataError(
            f"{either} of {len(boxes)} boxes end before they begin, and all of them would fit as x, y, width, "
            "height; write corners (xmin, ymin, xmax, ymax) instead"
        )


def _rows(raw: RawAnnotation) -> NDArray[np.float64]:
    return np.reshape(raw.corners, (-1, 4))


def _refuse_corners(boxes: NDArray[np.float64]) -> None:
    """Refuse shares (corners, as they were read) that are corners where centre, width and height are meant."""
    if len(boxes) < ENOUGH:
        return
    beyond = ((boxes < -SLACK) | (boxes > 1 + SLACK)).any(1)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    if beyond.mean() > 0.2 and ((sides > centres) & (sides <= 1 + SLACK)).all():
        raise DataError(
            f"{int(beyond.sum())} of {len(boxes)} boxes reach out of their images, and all would fit as corners "
            "(x1 y1 x2 y2) where the centre, width and height are meant; write x y width height instead"
        )


def turns(raws: Mapping[str, RawAnnotation], pixels: Mapping[str, Pixels]) -> tuple[dict[str, int], list[str]]:
    """By which orientation each image is to be turned so that its boxes lie on it, 1 for not at all; and notes.

    Where the stated size is that of the turned or of the stored picture, it tells. Where it cannot (no quarter turn,
    a square, no size), the other images of the set tell; where none can, pictures are turned, as annotation tools
    show them.
    """
    votes = {name: _vote(raws[name], found) for name, found in pixels.items() if found.orientation != 1}
    as_stored = "stored" in votes.values() and "turned" not in votes.values()
    result: dict[str, int] = {}
    for name, vote in votes.items():
        stored = vote == "stored" or (vote == "unknown" and as_stored)
        result[name] = 1 if stored else pixels[name].orientation
    unknown = sum(vote == "unknown" for vote in votes.values())
    notes = []
    turned_count = sum(value != 1 for value in result.values())
    if turned_count:
        notes.append(f"{turned_count} images were turned upright as their EXIF orientation says")
    if len(result) - turned_count:
        notes.append(
            f"{len(result) - turned_count} images have an EXIF orientation, but their boxes belong to the pixels as "
            "stored: not turned"
        )
    if unknown:
        what = "left as stored, like the others" if as_stored else "turned, as annotation tools show them"
        notes.append(f"LOOK AT THEM: for {unknown} of these no size tells which way their boxes lie; they were {what}")
    return result, notes


def whites(pixels: Mapping[str, Pixels]) -> tuple[float, list[str]]:
    """The value that becomes 255 in all images of more than 8 bits, and notes."""
    deep = [found.white for found in pixels.values() if found.white != 255]
    if not deep:
        return 255.0, []
    white = max(deep)
    return white, [f"{len(deep)} images of more than 8 bits were scaled from 0 to {white:g} (what is used) to 0 to 255"]


def _vote(raw: RawAnnotation, found: Pixels) -> str:
    stated, stored = (raw.width, raw.height), (found.width, found.height)
    if not swaps_sides(found.orientation) or found.width == found.height:
        return "unknown"
    return {stored: "stored", stored[::-1]: "turned"}.get(stated, "unknown")
