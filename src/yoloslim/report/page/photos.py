"""The same test images through two models, with what each found, for a slider between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.images import read_image
from yoloslim.data.voc import Annotation, VocSplit
from yoloslim.report.drawn_boxes import label_places, text_point
from yoloslim.report.page.embed import photograph
from yoloslim.report.predictions import choose_images, match_boxes
from yoloslim.results.judged import Judged

POINTS = 6.0
"""Size of labels, points of an image as wide as `text_point` takes it for."""
BUDGET = 1_800_000
"""Characters that all photographs together may take."""


@dataclass(frozen=True)
class Box:
    """A box to draw, in the image's pixels.

    Attributes:
        x: left.
        y: top.
        width: of the box.
        height: of the box.
        text: its label; empty for none.
        look: `right`, `wrong` or `missed`.
        label_x: left of the label.
        label_y: top of the label.
    """

    x: float
    y: float
    width: float
    height: float
    text: str
    look: str
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Photo:
    """A test image, and the boxes of each model on it.

    Attributes:
        name: of the image.
        source: as a data URI.
        width: px.
        height: px.
        font: size of labels, px.
        boxes: for each model.
        found: for each model, what a screen reader says.
    """

    name: str
    source: str
    width: int
    height: int
    font: float
    boxes: tuple[tuple[Box, ...], ...]
    found: tuple[str, ...]


def photos(judged: Sequence[Judged], split: VocSplit, count: int, conf_thres: float) -> list[Photo]:
    """Choose test images as the grid of predictions does, as many as the page has room for.

    Args:
        judged: the models to compare, in the order of the slider.
        split: test images.
        count: images wanted.
        conf_thres: detections with a lower score are not drawn.
    """
    chosen: list[Photo] = []
    for index in choose_images(split.annotations, count):
        photo = _photo(judged, split, index, conf_thres)
        if sum(len(each.source) for each in (*chosen, photo)) > BUDGET:
            break
        chosen.append(photo)
    return chosen


def _photo(judged: Sequence[Judged], split: VocSplit, index: int, conf_thres: float) -> Photo:
    truth = split.annotations[index]
    both = [_boxes(item.found[index], truth, split.classes, conf_thres) for item in judged]
    said = [_said(item.row.title, boxes) for item, boxes in zip(judged, both, strict=True)]
    font = POINTS * text_point(truth.width)
    source = photograph(read_image(split.image_path(index)))
    return Photo(split.ids[index], source, truth.width, truth.height, font, tuple(both), tuple(said))


def _boxes(found: NDArray[np.float32], truth: Annotation, classes: Sequence[str], conf_thres: float) -> tuple[Box, ...]:
    """What was found, right or wrong, and the objects that were missed."""
    kept = found[found[:, 4] >= conf_thres]
    kept = kept[np.argsort(-kept[:, 4], kind="stable")]
    right, met = match_boxes(kept, truth)
    texts = [f"{classes[int(row[5])]} {row[4]:.2f}" for row in kept]
    looks = ["right" if good else "wrong" for good in right]
    missed = truth.boxes[~met & ~truth.difficult]
    texts += [""] * len(missed)
    looks += ["missed"] * len(missed)
    corners = np.concatenate([kept[:, :4], missed])
    places = label_places(corners, [len(text) for text in texts], truth.width, truth.height, POINTS)
    return tuple(
        Box(_round(x0), _round(y0), _round(x1 - x0), _round(y1 - y0), text, look, _round(left), _round(top))
        for (x0, y0, x1, y1), text, look, (left, top) in zip(corners.tolist(), texts, looks, places, strict=True)
    )


def _said(title: str, boxes: Sequence[Box]) -> str:
    right = [box.text.rpartition(" ")[0] for box in boxes if box.look == "right"]
    wrong, missed = (sum(box.look == look for box in boxes) for look in ("wrong", "missed"))
    return f"{title}: {', '.join(right) or 'nothing'} found; {wrong} wrong, {missed} missed"


def _round(value: float) -> float:
    return round(value, 1)
