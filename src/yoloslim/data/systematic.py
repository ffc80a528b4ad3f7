"""Faults of a whole data set that no single image shows: how boxes are written, which way pictures are turned, how
many bits they use."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.exif import QUARTER_TURNS
from yoloslim.data.voc import RawAnnotation
from yoloslim.data.yolo_labels import SLACK
from yoloslim.errors import DataError

_AT_ONCE = 256
"""Images whose boxes are looked at together."""
_NO_ROWS = np.zeros((0, 4))
ENOUGH = 10
"""Boxes from which on a pattern is one."""
_ROUNDED = 0.02
"""Share by which sides may differ from a scale through rounding."""
MANY = 100
"""Boxes that do not all lie in the upper left quarter by chance, as corners in the wrong order must to fit as sizes."""


def refuse_other_conventions(raws: Iterable[RawAnnotation]) -> None:
    """Refuse boxes that are written as x, y, width, height, or as shares, where corners in pixels are meant, or as
    corners where width and height are.

    Raises:
        DataError: every box looks so, and there are enough of them.
    """
    shares: Counter[str] = Counter()
    pixels: Counter[str] = Counter()
    left = iter(raws)
    while part := list(islice(left, _AT_ONCE)):
        shares += _odd_shares(np.concatenate([_NO_ROWS, *(_rows(raw) for raw in part if raw.units == "shares")]))
        meant = [raw for raw in part if raw.units != "shares"]
        stated = np.array([(raw.width, raw.height) for raw in meant for _ in range(len(raw))], np.int64)
        pixels += _odd_pixels(np.concatenate([_NO_ROWS, *map(_rows, meant)]), stated.reshape(-1, 2))
    _refuse_shares(shares)
    _refuse_pixels(pixels)


def _rows(raw: RawAnnotation) -> NDArray[np.float64]:
    return np.reshape(raw.corners, (-1, 4))


def _odd_shares(boxes: NDArray[np.float64]) -> Counter[str]:
    """How many boxes, as they were read, are odd as centre, width and height, and sound as corners."""
    beyond = ((boxes < -SLACK) | (boxes > 1 + SLACK)).any(1)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    as_corners = ((sides > centres) & (sides <= 1 + SLACK)).all(1)
    return _counts(len(boxes), beyond=beyond, as_corners=as_corners)


def _odd_pixels(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> Counter[str]:
    """How many boxes are odd as corners in images of the stated sizes (width, height), and sound as something else."""
    backwards = boxes[:, 2:] < boxes[:, :2]
    sides = boxes[:, 2:] - boxes[:, :2]
    return _counts(
        len(boxes),
        shares=((boxes >= 0) & (boxes <= 1)).all(1),
        either=backwards.any(1),
        both=backwards.all(1),
        beyond=(boxes[:, 2:] > sizes + 1).any(1),
        sized=sizes.all(1),
        as_sides=(sizes[:, 0] > 0) & (boxes[:, :2] + boxes[:, 2:] <= sizes + 1).all(1),
        as_corners=((sides > boxes[:, :2]) & (sides <= sizes + 1)).all(1),
    )


def _counts(boxes: int, **found: NDArray[np.bool_] | np.bool_) -> Counter[str]:
    return Counter({"all": boxes} | {name: int(which.sum()) for name, which in found.items()})


def _refuse_shares(of: Counter[str]) -> None:
    if of["all"] >= ENOUGH and of["beyond"] > 0.2 * of["all"] and of["as_corners"] == of["all"]:
        raise DataError(
            f"{of['beyond']} of {of['all']} boxes reach out of their images, and all would fit as corners "
            "(x1 y1 x2 y2) where the centre, width and height are meant; write x y width height instead"
        )


def _refuse_pixels(of: Counter[str]) -> None:
    if of["all"] < ENOUGH:
        return
    if of["shares"] == of["all"]:
        raise DataError(
            f"all {of['all']} boxes lie between 0 and 1: they look like shares of the image, where pixels are meant; "
            "multiply them by width and height"
        )
    if of["beyond"] > 0.2 * of["all"] and of["sized"] == of["as_corners"] == of["all"]:
        raise DataError(
            f"{of['beyond']} of {of['all']} boxes reach out of their images, and all would fit as corners "
            "(xmin, ymin, xmax, ymax) where x, y, width, height are meant; write width and height instead"
        )
    certain = of["both"] < 0.9 * of["all"] or of["all"] >= MANY
    if of["as_sides"] == of["all"] and of["either"] > 0.2 * of["all"] and certain:
        raise DataError(
            f"{of['either']} of {of['all']} boxes end before they begin, and all of them would fit as x, y, width, "
            "height; write corners (xmin, ymin, xmax, ymax) instead"
        )


def turns(images: NDArray[np.void]) -> tuple[NDArray[np.uint8], list[str]]:
    """By which orientation each image is to be turned so that its boxes lie on it, 1 for not at all; and notes.

    Where the stated size is that of the turned or of the stored picture, it tells. Where it cannot (no quarter turn,
    a square, no size), the other images of the set tell; where none can, pictures are turned, as annotation tools
    show them.

    Args:
        images: with fields `orientation`, and `stated` and `size`, each width and height in pixels.
    """
    size, stated, orientation = images["size"], images["stated"], images["orientation"]
    oriented = orientation != 1
    telling = oriented & (orientation >= QUARTER_TURNS) & (size[:, 0] != size[:, 1])
    stored = telling & (stated == size).all(1)
    turned = telling & (stated == size[:, ::-1]).all(1)
    as_stored = stored.any() and not turned.any()
    unknown = oriented & ~stored & ~turned
    kept = stored | unknown if as_stored else stored
    notes = []
    if count := int((oriented & ~kept).sum()):
        notes.append(f"{count} images were turned upright as their EXIF orientation says")
    if kept.any():
        notes.append(
            f"{int(kept.sum())} images have an EXIF orientation, but their boxes belong to the pixels as "
            "stored: not turned"
        )
    if unknown.any():
        what = "left as stored, like the others" if as_stored else "turned, as annotation tools show them"
        notes.append(
            f"LOOK AT THEM: for {int(unknown.sum())} of these no size tells which way their boxes lie; they were {what}"
        )
    return np.where(oriented & ~kept, orientation, 1).astype(np.uint8), notes


def notes_on_resized(images: NDArray[np.void]) -> list[str]:
    """A note on images that are as stated in shape, and not in size: were they resized after boxes were drawn?

    Args:
        images: with fields `stated` and `size`, each width and height in pixels.
    """
    size, stated = images["size"].astype(np.float64), images["stated"].astype(np.float64)
    known = (stated > 0).all(1) & (size > 0).all(1)
    scales = stated[known] / size[known]
    resized = (np.abs(scales - 1) > _ROUNDED).all(1) & (np.abs(scales[:, 0] / scales[:, 1] - 1) < _ROUNDED)
    if not resized.any():
        return []
    return [
        f"LOOK AT THEM: {int(resized.sum())} images have the shape that is stated and another size; boxes were taken "
        "for pixels of the images as they are, and lie wrong if these were resized since"
    ]


def whites(values: NDArray[np.float64]) -> tuple[float, list[str]]:
    """The value that becomes 255 in all images of more than 8 bits, from that of each image; and notes."""
    deep = values[values != 255]
    if not len(deep):
        return 255.0, []
    white = float(deep.max())
    return white, [f"{len(deep)} images of more than 8 bits were scaled from 0 to {white:g} (what is used) to 0 to 255"]
