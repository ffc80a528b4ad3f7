"""Backgrounds: noise in several octaves, gradients, horizons, rooms and streets, and clutter without a class."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from yoloslim.data.scenes.canvas import PAINTS, Canvas, Colour, any_colour, chance, mix, pick, shade, uniform

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Backdrop:
    """A background before any object stands in front of it.

    Attributes:
        picture: (size, size, 3) uint8 RGB.
        horizon: row, as a share of the height, above which nothing stands on the ground.
    """

    picture: NDArray[np.uint8]
    horizon: float


def noise(rng: Generator, size: int, first: int, octaves: int, squeeze: int = 1) -> Picture:
    """Sum of smooth noises, (size, size, 1), about -1..1: `first` cells a side, doubling with every octave.

    `squeeze` stretches it sideways, for water and wood.
    """
    total = np.zeros((size, size), np.float32)
    weight = 0.55
    for octave in range(octaves):
        cells = min(first << octave, size)
        grid = rng.uniform(-1, 1, (cells, max(2, cells // squeeze))).astype(np.float32)
        total += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
        weight *= 0.62
    return total[..., None]


def gradient(size: int, top: Colour, bottom: Colour) -> Picture:
    """Vertical blend of two colours, (size, size, 3)."""
    share = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    rows = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return np.asarray(cv2.resize(rows, (size, size), interpolation=cv2.INTER_NEAREST), np.float32)


def draw_backdrop(rng: Generator, kind: str, size: int) -> Backdrop:
    """Paint a background of a kind that `BACKDROPS` names, `size` pixels a side."""
    picture, horizon = BACKDROPS[kind](rng, size)
    return Backdrop(np.clip(picture, 0, 255, out=picture).astype(np.uint8), horizon)


def draw_clutter(rng: Generator, canvas: Canvas) -> None:
    """Something that is none of the classes: a bush, a stone, a box, a post, a ball or a lamp."""
    colour = any_colour(rng)
    kind = int(rng.integers(6))
    if kind == 0:
        green = pick(rng, [(52, 92, 44), (92, 118, 58), (120, 110, 60)])
        for _ in range(int(rng.integers(8, 16))):
            x, y = uniform(rng, -0.7, 0.7), uniform(rng, -0.4, 0.5)
            canvas.ellipse(x, y, uniform(rng, 0.15, 0.3), uniform(rng, 0.1, 0.26), shade(green, uniform(rng, 0.6, 1.3)))
    elif kind == 1:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        reach = rng.uniform(0.6, 1.0, 9)
        grey = pick(rng, [(120, 116, 110), (150, 140, 124), (84, 82, 84)])
        canvas.blob(
            [(float(r * np.cos(a)), float(0.6 * r * np.sin(a))) for a, r in zip(angles, reach, strict=True)], grey
        )
    elif kind == 2:
        height = uniform(rng, 0.4, 1.0)
        canvas.rect(-0.7, -height, 0.5, height, colour)
        canvas.polygon([(0.5, -height), (0.8, -height + 0.2), (0.8, height - 0.2), (0.5, height)], shade(colour, 0.65))
        canvas.rect(-0.7, -0.1, 0.5, 0.05, shade(colour, 1.2), clip=True)
    elif kind == 3:
        canvas.rect(-0.05, -0.9, 0.05, 1, shade(colour, 0.7))
        canvas.rect(-0.3, -1, 0.3, uniform(rng, -0.8, -0.4), colour, uniform(rng, 0, 0.3))
    elif kind == 4:
        canvas.ellipse(0, 0, 0.9, 0.9, colour)
        canvas.blob([(-0.9, -0.1), (0, 0.2), (0.9, -0.1), (0, 0.45)], any_colour(rng), clip=True)
    else:
        corners = rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2))
        canvas.polygon(cv2.convexHull(corners.astype(np.float32))[:, 0].astype(np.float64), colour)


def _street(rng: Generator, size: int) -> tuple[Picture, float]:
    horizon = uniform(rng, 0.35, 0.55)
    picture = _sky(rng, size)
    row = int(horizon * size)
    x = -0.05
    while x < 1:
        width, height = uniform(rng, 0.1, 0.28), uniform(rng, 0.1, horizon * 0.9)
        wall = mix(pick(rng, [(150, 110, 90), (170, 160, 146), (120, 124, 130), (196, 180, 150)]), (190, 196, 204), 0.2)
        _house(rng, picture, (int(x * size), row - int(height * size), int((x + width) * size), row), wall)
        x += width + (0.0 if chance(rng, 0.7) else 0.06)
    asphalt = pick(rng, [(96, 96, 98), (122, 120, 116), (76, 78, 82)])
    picture[row:] = gradient(size, mix(asphalt, (160, 160, 160), 0.3), asphalt)[row:]
    kerb = row + int(uniform(rng, 0.04, 0.12) * size)
    picture[row:kerb] = mix(asphalt, (186, 178, 166), 0.6)
    if chance(rng, 0.6):
        vanish = int(uniform(rng, 0.2, 0.8) * size)
        for foot in rng.uniform(-0.4, 1.4, 3):
            cv2.line(
                picture, (vanish, kerb), (int(foot * size), size), (206, 204, 196), max(1, size // 90), cv2.LINE_AA
            )
    picture[row:] += 16 * noise(rng, size, 24, 3)[row:]
    return picture, horizon


def _house(rng: Generator, picture: Picture, box: tuple[int, int, int, int], wall: Colour) -> None:
    left, top, right, bottom = box
    left, size = max(left, 0), len(picture)
    picture[max(top, 0) : bottom, left:right] = wall
    step, pane = max(4, size // int(rng.integers(14, 26))), pick(rng, [(70, 84, 100), (44, 50, 60), (150, 170, 190)])
    for y in range(max(top, 0) + step // 2, bottom - step // 2, step):
        for x in range(left + step // 3, right - step // 2, step):
            picture[y : y + step // 2, x : x + step // 2] = shade(pane, uniform(rng, 0.7, 1.2))


def _sky(rng: Generator, size: int) -> Picture:
    half = size // 2  # skies are smooth: a quarter of the pixels tells it all
    top = pick(rng, [(92, 142, 206), (150, 176, 206), (170, 174, 180), (70, 104, 168), (206, 160, 130)])
    picture = gradient(half, top, mix(top, (236, 232, 224), uniform(rng, 0.4, 0.85)))
    share = np.clip(noise(rng, half, 3, 5) - uniform(rng, -0.2, 0.5), 0, 1) * np.float32(uniform(rng, 0.2, 1.1))
    picture += (np.array((242, 242, 244), np.float32) - picture) * share
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _open_sky(rng: Generator, size: int) -> tuple[Picture, float]:
    return _sky(rng, size), 0.05


def _field(rng: Generator, size: int) -> tuple[Picture, float]:
    horizon = uniform(rng, 0.25, 0.5)
    picture = _sky(rng, size)
    rows = np.arange(size, dtype=np.float32)[:, None]
    far = pick(rng, [(84, 110, 96), (110, 126, 130), (70, 92, 60)])
    for depth in (0.1, 0.04):
        ridge = (horizon - depth * (1 + noise(rng, size, 4, 3)[0, :, 0])) * size
        picture[rows > ridge] = shade(far, 1.2 - 2 * (0.1 - depth))
    row = int(horizon * size)
    grass = pick(rng, [(92, 130, 56), (126, 142, 66), (160, 146, 84), (66, 100, 48), (206, 186, 140), (228, 230, 234)])
    ground = gradient(size, mix(grass, far, 0.35), grass)
    ground += uniform(rng, 20, 40) * noise(rng, size, 5, 6)
    picture[row:] = ground[row:]
    return picture, horizon


def _sea(rng: Generator, size: int) -> tuple[Picture, float]:
    horizon = uniform(rng, 0.25, 0.55)
    picture = _sky(rng, size)
    row = int(horizon * size)
    water = pick(rng, [(44, 90, 120), (60, 110, 130), (90, 112, 124), (40, 66, 96)])
    surface = gradient(size, mix(water, (190, 206, 220), 0.4), water) + 34 * noise(rng, size, 24, 4, squeeze=6)
    picture[row:] = surface[row:]
    return picture, horizon


def _room(rng: Generator, size: int) -> tuple[Picture, float]:
    horizon = uniform(rng, 0.5, 0.72)
    row = int(horizon * size)
    wall = pick(
        rng, [(214, 206, 190), (190, 200, 204), (176, 150, 120), (140, 156, 140), (226, 222, 216), (120, 104, 120)]
    )
    picture = gradient(size, wall, shade(wall, uniform(rng, 0.8, 1.1)))
    if chance(rng, 0.35):
        step = max(6, size // int(rng.integers(8, 24)))
        for x in range(0, size, step):
            picture[:row, x : x + step // 2] *= np.float32(0.93)
    for _ in range(int(rng.integers(0, 4))):
        _wall_thing(rng, picture, size, row)
    floor = pick(rng, [(150, 108, 70), (120, 84, 58), (176, 160, 140), (110, 110, 116), (150, 60, 54)])
    ground = gradient(size, shade(floor, 0.85), floor) + 22 * noise(rng, size, 32, 3, squeeze=8)
    picture[row:] = ground[row:]
    if chance(rng, 0.6):
        vanish = (int(uniform(rng, 0.3, 0.7) * size), -size // 4)  # above the wall's foot, where OpenCV clips
        for foot in np.linspace(-1, 2, 16):
            cv2.line(picture[row:], vanish, (int(foot * size), size - row), shade(floor, 0.75), 1, cv2.LINE_AA)
    picture[row - max(1, size // 50) : row] = shade(wall, uniform(rng, 0.6, 1.2))
    return picture, horizon


def _wall_thing(rng: Generator, picture: Picture, size: int, row: int) -> None:
    """A picture, a window, a door or a shelf."""
    x, width = int(uniform(rng, -0.1, 0.9) * size), int(uniform(rng, 0.1, 0.34) * size)
    y, height = int(uniform(rng, 0.02, 0.3) * size), int(uniform(rng, 0.08, 0.4) * size)
    border = max(2, size // 64)
    frame = pick(rng, [(238, 236, 230), (90, 60, 40), (40, 40, 40), (180, 150, 90)])
    bottom = min(y + height, row)
    cv2.rectangle(picture, (x, y), (x + width, bottom), frame, -1)
    inner = picture[y + border : bottom - border, max(x + border, 0) : max(x + width - border, 0)]
    if inner.size == 0:
        return
    inner[:] = any_colour(rng)
    if chance(rng, 0.5):
        inner[: len(inner) // 2] = pick(rng, [(180, 206, 230), (230, 226, 214), *PAINTS])
        inner[:, inner.shape[1] // 2 : inner.shape[1] // 2 + border] = frame


def _texture(rng: Generator, size: int) -> tuple[Picture, float]:
    one, two = any_colour(rng), any_colour(rng)
    share = np.clip(0.5 + 0.8 * noise(rng, size, int(rng.integers(2, 9)), 6), 0, 1)
    dull = mix(one, two, 0.5)
    a, b = (np.array(mix(colour, dull, 0.45), np.float32) for colour in (one, two))
    picture = a * (1 - share) + b * share
    if chance(rng, 0.4):
        cells = rng.uniform(0.8, 1.15, (int(rng.integers(4, 14)),) * 2).astype(np.float32)
        picture *= cv2.resize(cells, (size, size), interpolation=cv2.INTER_NEAREST)[..., None]
    return picture, 0.1


BACKDROPS: Mapping[str, Callable[[Generator, int], tuple[Picture, float]]] = MappingProxyType(
    {
        "street": _street,
        "field": _field,
        "sea": _sea,
        "sky": _open_sky,
        "room": _room,
        "texture": _texture,
    }
)
"""Every kind of background by its name."""
