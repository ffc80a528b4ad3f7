"""Put drawn objects on a background and say truthfully what can be seen of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from yoloslim.data.scenes.background import Backdrop, draw_backdrop, draw_clutter
from yoloslim.data.scenes.camera import photograph
from yoloslim.data.scenes.canvas import chance, uniform
from yoloslim.data.scenes.difficulty import DIFFICULTY, Difficulty
from yoloslim.data.scenes.objects import DRAWINGS, Drawing, draw_sprite
from yoloslim.data.voc import VOC_CLASSES, Annotation, annotation_from

LEAST_VISIBLE = 0.15
"""Share of an object's drawn pixels that must be seen; with less the object is taken out of the scene."""
DIFFICULT_VISIBLE = 0.4
"""Share of an object's drawn pixels below which its box counts as difficult."""
DIFFICULT_SIDE = 0.03
"""Longer side of a box, as a share of the image, below which it counts as difficult."""

HOMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "street": ("bicycle", "bus", "car", "motorbike", "person", "train", "dog", "cat"),
        "field": ("cow", "dog", "horse", "sheep", "person", "bird", "cat", "train", "aeroplane", "bicycle"),
        "sea": ("boat", "bird", "person"),
        "sky": ("aeroplane", "bird"),
        "room": ("bottle", "chair", "diningtable", "sofa", "tvmonitor", "pottedplant", "person", "cat", "dog"),
    }
)
"""Which classes belong where; a share of the objects stands elsewhere, so that the background gives nothing away."""

TEXTURE_SHARE = 0.14
"""Share of scenes without any place, where everything stands on a mere texture."""


def _weights() -> dict[str, float]:
    """Weight of a class in each of its homes, so that all are drawn equally often; but people twice."""
    counts = {name: sum(name in home for home in HOMES.values()) for name in VOC_CLASSES}
    return {name: (2.0 if name == "person" else 1.0) / count for name, count in counts.items()}


CLASS_WEIGHTS: Mapping[str, float] = MappingProxyType(_weights())
FLYING = ("aeroplane", "bird")
CLUTTER = Drawing(lambda canvas, rng: draw_clutter(rng, canvas), tilt=12)


@dataclass(frozen=True)
class Placed:
    """A sprite and where its top-left corner lies; `label` is -1 for clutter."""

    sprite: NDArray[np.uint8]
    x: int
    y: int
    label: int

    @property
    def bottom(self) -> int:
        """Row below the sprite."""
        return self.y + len(self.sprite)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Corners of the whole sprite, also outside the image."""
        return self.x, self.y, self.x + self.sprite.shape[1], self.bottom

    def windows(self, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns in the image, and the same in the sprite."""
        x1, y1, x2, y2 = self.box
        left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, size), min(y2, size)
        return (slice(top, bottom), slice(left, right)), (slice(top - y1, bottom - y1), slice(left - x1, right - x1))


@dataclass(frozen=True)
class Seen:
    """What can be seen of an object: its box within the image, and shares of its drawn pixels."""

    box: tuple[int, int, int, int]
    inside: float
    visible: float


def render_scene(
    seed: int, split: str, index: int, size: int, hard: Difficulty = DIFFICULTY
) -> tuple[NDArray[np.uint8], Annotation]:
    """Draw scene `index` of `split`: an RGB image (size, size, 3) and its annotation over `VOC_CLASSES`.

    The scene depends on the arguments only. A box spans what of its object lies inside the image, also where another
    object hides it. `truncated` says that a part lies outside; `difficult` that less than `DIFFICULT_VISIBLE` of the
    drawn pixels can be seen, or that the box is tiny.
    """
    rng = np.random.default_rng([seed, *split.encode(), index])
    kind = _choose_kind(rng)
    backdrop = draw_backdrop(rng, kind, size)
    things = _place_all(rng, kind, backdrop, size, hard)
    things = without_hidden(things, size)
    picture = backdrop.picture
    for thing in things:
        _paint(rng, picture, thing, size)
    image = photograph(rng, picture, hard)
    return image, annotate(things, size)


LONE = 0.25
"""Probability that no further object joins those that are there."""


def _place_all(rng: Generator, kind: str, backdrop: Backdrop, size: int, hard: Difficulty) -> list[Placed]:
    """Choose and place objects and clutter, in painting order: what stands lower in the image is nearer."""
    placed: list[Placed] = []
    count = min(int(rng.geometric(LONE)), hard.most_objects)
    labels = _choose_classes(rng, kind, count, hard)
    largest = uniform(rng, 0.3, 0.85) / math.sqrt(0.6 + 0.4 * count)
    for label in labels:
        side = max(largest * uniform(rng, 0.35, 1.0), hard.smallest) if count > 1 else max(largest, hard.smallest)
        if chance(rng, 0.2):
            side = uniform(rng, hard.smallest, 0.3)
        sprite = draw_sprite(rng, DRAWINGS[VOC_CLASSES[label]], max(8, round(side * size)))
        thing = _place(rng, sprite, label, backdrop, placed, size, hard)
        if thing:
            placed.append(thing)
    for _ in range(int(rng.integers(0, hard.clutter + 1))):
        sprite = draw_sprite(rng, CLUTTER, max(6, round(uniform(rng, 0.05, 0.2) * size)))
        thing = _place(rng, sprite, -1, backdrop, placed, size, hard)
        if thing:
            placed.append(thing)
    return sorted(placed, key=lambda thing: thing.bottom)


def _choose_kind(rng: Generator) -> str:
    if chance(rng, TEXTURE_SHARE):
        return "texture"
    kinds = list(HOMES)
    return kinds[_choose(rng, [sum(CLASS_WEIGHTS[name] for name in HOMES[kind]) for kind in kinds])]


def _choose_classes(rng: Generator, kind: str, count: int, hard: Difficulty) -> list[int]:
    labels: list[int] = []
    for _ in range(count):
        if labels and chance(rng, 0.3):
            labels.append(labels[-1])  # herds, queues of cars, chairs around a table
        elif kind == "texture" or chance(rng, hard.foreign):
            labels.append(int(rng.integers(len(VOC_CLASSES))))
        else:
            home = HOMES[kind]
            labels.append(VOC_CLASSES.index(home[_choose(rng, [CLASS_WEIGHTS[name] for name in home])]))
    return labels


def _choose(rng: Generator, weights: Sequence[float]) -> int:
    return int(np.searchsorted(np.cumsum(weights), rng.uniform(0, sum(weights)), side="right"))


def _place(
    rng: Generator,
    sprite: NDArray[np.uint8],
    label: int,
    backdrop: Backdrop,
    placed: Sequence[Placed],
    size: int,
    hard: Difficulty,
) -> Placed | None:
    """A place with little enough overlap, or None when a dozen tries found none."""
    height, width = sprite.shape[:2]
    if placed and chance(rng, hard.overlap / 2):
        return _crowd(rng, sprite, label, placed[int(rng.integers(len(placed)))], size)
    for _ in range(12):
        overhang = 0.3 if chance(rng, 0.2) else 0.0
        x = int(rng.uniform(-overhang * width, size - width + overhang * width))
        if label >= 0 and VOC_CLASSES[label] in FLYING and chance(rng, 0.7):
            low, high = -overhang * height, max(backdrop.horizon * size, size * 0.5) - height / 2
        else:
            low = max(backdrop.horizon * size - height * 0.8, -overhang * height)
            high = size - height + overhang * height
        y = int(rng.uniform(low, max(high, low + 1)))
        thing = Placed(sprite, x, min(y, size - height // 2), label)
        if all(_covered_share(thing.box, other.box) <= hard.overlap for other in placed):
            return thing
    return None


def _crowd(rng: Generator, sprite: NDArray[np.uint8], label: int, other: Placed, size: int) -> Placed:
    """A place right before or behind another thing."""
    height, width = sprite.shape[:2]
    left, top, right, bottom = other.box
    x = (left + right - width) / 2 + uniform(rng, -0.5, 0.5) * (right - left)
    y = top + uniform(rng, -0.1, 0.5) * (bottom - top)
    return Placed(sprite, int(min(max(x, -width / 3), size - width * 2 / 3)), int(min(y, size - height / 2)), label)


def _covered_share(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / smaller


def without_hidden(things: Sequence[Placed], size: int) -> list[Placed]:
    """Take out objects of which too little is seen, the most hidden first, since others show more without it."""
    left = list(things)
    while True:
        seen = look(left, size)
        worst = min(range(len(left)), key=lambda i: seen[i].visible, default=None)
        if worst is None or seen[worst].visible >= LEAST_VISIBLE:
            return left
        left.pop(worst)


def look(things: Sequence[Placed], size: int) -> list[Seen]:
    """What is seen of each thing when they are painted in this order."""
    top = np.full((size, size), -1, np.int16)
    boxes, inside = [], []
    for number, thing in enumerate(things):
        image, own = thing.windows(size)
        mask = thing.sprite[..., 3] > 127
        part = mask[own]
        top[image][part] = number
        x, y, w, h = cv2.boundingRect(part.astype(np.uint8))
        left, up = image[1].start + x, image[0].start + y
        boxes.append((left, up, left + w, up + h))
        inside.append((int(part.sum()), max(int(mask.sum()), 1)))
    counts = np.bincount(top[top >= 0].ravel(), minlength=len(things))
    return [
        Seen(box, part / whole, int(count) / whole)
        for box, (part, whole), count in zip(boxes, inside, counts, strict=True)
    ]


def _paint(rng: Generator, picture: NDArray[np.uint8], thing: Placed, size: int) -> None:
    image, own = thing.windows(size)
    stands = thing.label < 0 or VOC_CLASSES[thing.label] not in FLYING
    if stands and chance(rng, 0.7):
        _shadow(picture, thing, size)
    sprite = thing.sprite[own]
    kept = cv2.merge([255 - sprite[..., 3]] * 3)
    picture[image] = cv2.add(cv2.multiply(picture[image], kept, scale=1 / 255), sprite[..., :3])


def _shadow(picture: NDArray[np.uint8], thing: Placed, size: int) -> None:
    """Darken the ground under an object; the shadow is no part of its mask."""
    x1, _, x2, bottom = thing.box
    width, height = x2 - x1, max(2, (x2 - x1) // 8)
    light = np.full((2 * height + 1, width), 255, np.uint8)
    cv2.ellipse(light, (width // 2, height), (int(width * 0.46), int(height * 0.6)), 0, 0, 360, 145, -1)
    soft = cv2.merge([cv2.blur(light, (height | 1, height | 1))] * 3)
    image, own = Placed(soft, x1, bottom - height - height // 2, -1).windows(size)
    if image[0].start < image[0].stop and image[1].start < image[1].stop:
        picture[image] = cv2.multiply(picture[image], soft[own], scale=1 / 255)


def annotate(things: Sequence[Placed], size: int) -> Annotation:
    """Boxes and flags of what `look` sees, without the clutter."""
    pairs = [(t, s) for t, s in zip(things, look(things, size), strict=True) if t.label >= 0]
    tiny = DIFFICULT_SIDE * size
    return annotation_from(
        size,
        size,
        [seen.box for _, seen in pairs],
        [thing.label for thing, _ in pairs],
        [
            seen.visible < DIFFICULT_VISIBLE or max(seen.box[2] - seen.box[0], seen.box[3] - seen.box[1]) < tiny
            for _, seen in pairs
        ],
        [seen.inside < 0.999 for _, seen in pairs],
    )
