"""One drawn object as a sprite: which drawing, how turned, how lit."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from yoloslim.data.scenes import animals, household, vehicles, vessels
from yoloslim.data.scenes.canvas import Canvas, chance, uniform
from yoloslim.data.scenes.person import person


@dataclass(frozen=True)
class Drawing:
    """How to draw a class.

    Attributes:
        draw: draws on a canvas.
        tilt: degrees that it may be turned either way.
        stretch: share by which its width may change either way.
    """

    draw: Callable[[Canvas, Generator], None]
    tilt: float = 4.0
    stretch: float = 0.12


DRAWINGS: Mapping[str, Drawing] = MappingProxyType(
    {
        "aeroplane": Drawing(vessels.aeroplane, tilt=24),
        "bicycle": Drawing(vehicles.bicycle, tilt=7),
        "bird": Drawing(animals.bird, tilt=16),
        "boat": Drawing(vessels.boat, tilt=6),
        "bottle": Drawing(household.bottle, tilt=6),
        "bus": Drawing(vehicles.bus, tilt=3),
        "car": Drawing(vehicles.car, tilt=4),
        "cat": Drawing(animals.cat, tilt=7),
        "chair": Drawing(household.chair, tilt=4),
        "cow": Drawing(animals.cow, tilt=5),
        "diningtable": Drawing(household.diningtable, tilt=3),
        "dog": Drawing(animals.dog, tilt=7),
        "horse": Drawing(animals.horse, tilt=6),
        "motorbike": Drawing(vehicles.motorbike, tilt=7),
        "person": Drawing(person, tilt=6),
        "pottedplant": Drawing(household.pottedplant, tilt=4),
        "sheep": Drawing(animals.sheep, tilt=5),
        "sofa": Drawing(household.sofa, tilt=3),
        "train": Drawing(vessels.train, tilt=4),
        "tvmonitor": Drawing(household.tvmonitor, tilt=4),
    }
)
"""Every class of VOC by its name."""


def draw_sprite(rng: Generator, drawing: Drawing, longest: int) -> NDArray[np.uint8]:
    """Draw one object as RGBA (h, w, 4), colours multiplied by alpha, cropped, `longest` pixels on its longer side."""
    oversample = 3 if longest < 64 else (2 if longest < 200 else 1.5)
    canvas = Canvas(
        scale=longest * oversample / 2,
        angle=uniform(rng, -drawing.tilt, drawing.tilt),
        stretch=math.exp(uniform(rng, -drawing.stretch, drawing.stretch)),
        mirrored=chance(rng, 0.5),
    )
    drawing.draw(canvas, rng)
    x, y, w, h = cv2.boundingRect(canvas.rgba[..., 3])
    factor = longest / max(w, h)
    size = (max(2, round(w * factor)), max(2, round(h * factor)))
    sprite = cv2.resize(canvas.rgba[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA)
    return light(rng, sprite)


def light(rng: Generator, sprite: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give a flat drawing some volume: light from one side, a darker underside, a little texture."""
    height, width = sprite.shape[:2]
    reach = max(3, round(max(height, width) * 0.09) | 1)
    soft = cv2.blur(sprite[..., 3], (reach, reach)).astype(np.float32) * (1 / 255)
    turn = uniform(rng, -math.pi, 0)
    relief = cv2.Sobel(soft, -1, 1, 0) * math.cos(turn) + cv2.Sobel(soft, -1, 0, 1) * math.sin(turn)
    strength = uniform(rng, 0.05, 0.14) * reach
    fall = np.linspace(uniform(rng, 1.0, 1.12), uniform(rng, 0.72, 0.95), height, dtype=np.float32)[:, None]
    cells = rng.uniform(-0.13, 0.13, (9, 9)).astype(np.float32)
    texture = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    fine = rng.uniform(-0.1, 0.1, (height // 3 + 1, width // 3 + 1)).astype(np.float32)
    texture += cv2.resize(fine, (width, height), interpolation=cv2.INTER_LINEAR)
    gain = np.clip(fall * (1 - relief * strength) + texture, 0.35, 1.6)
    rgb = sprite[..., :3] * gain[..., None]
    lit = sprite.copy()
    lit[..., :3] = np.minimum(rgb, sprite[..., 3:])  # premultiplied: no channel may exceed alpha
    return lit
