"""A transparent sheet to draw one object on, in coordinates that know nothing of pixels.

Objects are drawn around the origin within about -1..1, y downwards, several times larger than needed; shrinking
them makes the edges smooth. What nothing was drawn on stays transparent, so the alpha channel is the exact mask.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Point = tuple[float, float]

REACH = 1.35
"""Half the side of the sheet, in drawing units."""
SHIFT = 4
"""Fractional bits of the coordinates that OpenCV is given."""


class Canvas:
    """RGBA sheet, `rgba` (side, side, 4) uint8, alpha 0 or 255.

    Args:
        scale: pixels per drawing unit.
        angle: degrees that the drawing is turned clockwise.
        stretch: factor on widths.
        mirrored: whether left and right change places.
    """

    def __init__(self, scale: float, angle: float = 0.0, stretch: float = 1.0, mirrored: bool = False) -> None:
        side = math.ceil(2 * REACH * scale)
        self.rgba: NDArray[np.uint8] = np.zeros((side, side, 4), np.uint8)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        flip = (-1.0 if mirrored else 1.0) * stretch
        self._matrix = np.array([[cos * flip, sin * flip], [-sin, cos]]) * scale
        self._offset = side / 2
        self._scale = scale * math.sqrt(stretch)

    def polygon(self, points: Sequence[Point] | NDArray[np.float64], colour: Colour, clip: bool = False) -> None:
        """Fill a polygon; with `clip` only where something was drawn before."""
        corners = [self._pixels(points)]
        if not clip:
            cv2.fillPoly(self.rgba, corners, (*colour, 255), shift=SHIFT)
            return
        inside = np.zeros(self.rgba.shape[:2], np.uint8)
        cv2.fillPoly(inside, corners, 255, shift=SHIFT)
        x, y, w, h = cv2.boundingRect(inside)
        window = self.rgba[y : y + h, x : x + w]
        window[(inside[y : y + h, x : x + w] & window[..., 3]) > 0] = (*colour, 255)

    def blob(self, points: Sequence[Point], colour: Colour, clip: bool = False) -> None:
        """Fill a smooth closed curve through the points."""
        self.polygon(_smooth(points, closed=True), colour, clip)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, colour: Colour, angle: float = 0.0, clip: bool = False
    ) -> None:
        """Fill an ellipse around (x, y), turned by `angle` degrees."""
        self.polygon(_ellipse(x, y, rx, ry, angle), colour, clip)

    def rect(
        self, x1: float, y1: float, x2: float, y2: float, colour: Colour, radius: float = 0.0, clip: bool = False
    ) -> None:
        """Fill a rectangle with corners rounded by `radius`."""
        if radius <= 0:
            self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour, clip)
            return
        r = min(radius, (x2 - x1) / 2, (y2 - y1) / 2)
        angles = np.linspace(0, math.pi / 2, 6)
        centres = ((x2 - r, y2 - r, 0.0), (x1 + r, y2 - r, 90.0), (x1 + r, y1 + r, 180.0), (x2 - r, y1 + r, 270.0))
        arcs = [
            np.stack([cx + r * np.cos(angles + math.radians(turn)), cy + r * np.sin(angles + math.radians(turn))], 1)
            for cx, cy, turn in centres
        ]
        self.polygon(np.concatenate(arcs), colour, clip)

    def line(
        self, points: Sequence[Point] | NDArray[np.float64], width: float, colour: Colour, closed: bool = False
    ) -> None:
        """Draw straight strokes of `width` drawing units."""
        thickness = max(1, round(width * self._scale))
        cv2.polylines(self.rgba, [self._pixels(points)], closed, (*colour, 255), thickness, shift=SHIFT)

    def curve(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a smooth stroke through the points."""
        self.line(_smooth(points, closed=False), width, colour)

    def ring(self, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
        """Draw a circle's outline."""
        self.line(_ellipse(x, y, radius, radius, 0.0), width, colour, closed=True)

    def limb(self, points: Sequence[Point], widths: Sequence[float], colour: Colour) -> None:
        """Draw a chain of rounded segments whose width at each joint is given: a leg, an arm, a neck."""
        for (a, wa), (b, wb) in zip(
            zip(points[:-1], widths[:-1], strict=True), zip(points[1:], widths[1:], strict=True), strict=True
        ):
            length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1e-6
            nx, ny = -(b[1] - a[1]) / length / 2, (b[0] - a[0]) / length / 2
            left = [(a[0] + nx * wa, a[1] + ny * wa), (b[0] + nx * wb, b[1] + ny * wb)]
            right = [(b[0] - nx * wb, b[1] - ny * wb), (a[0] - nx * wa, a[1] - ny * wa)]
            self.polygon([*left, *right], colour)
        for (x, y), width in zip(points, widths, strict=True):
            self.ellipse(x, y, width / 2, width / 2, colour)

    def _pixels(self, points: Sequence[Point] | NDArray[np.float64]) -> NDArray[np.int32]:
        placed = np.asarray(points, np.float64) @ self._matrix.T + self._offset
        return np.rint(placed * (1 << SHIFT)).astype(np.int32)


def _ellipse(x: float, y: float, rx: float, ry: float, angle: float) -> NDArray[np.float64]:
    turns = np.linspace(0, 2 * math.pi, 33)[:-1]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    dx, dy = rx * np.cos(turns), ry * np.sin(turns)
    return np.stack([x + dx * cos - dy * sin, y + dx * sin + dy * cos], 1)


def _smooth(points: Sequence[Point], closed: bool, steps: int = 6) -> NDArray[np.float64]:
    """Catmull-Rom spline (uniform): passes through every point, and needs no handles."""
    knots = np.asarray(points, np.float64)
    ends = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    padded = np.concatenate([ends[0], knots, ends[1]])
    before, start, end, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, knots[-1:]])


def uniform(rng: Generator, low: float, high: float) -> float:
    """A number between `low` and `high`."""
    return float(rng.uniform(low, high))


def chance(rng: Generator, probability: float) -> bool:
    """Whether something with that probability happens."""
    return bool(rng.random() < probability)


def pick(rng: Generator, colours: Sequence[Colour], spread: int = 18) -> Colour:
    """One of the colours, slightly changed: mostly in brightness, a little in hue."""
    base = colours[int(rng.integers(len(colours)))]
    change = rng.integers(-spread, spread + 1) + rng.integers(-(spread // 3), spread // 3 + 1, 3)
    return _colour(*(v + int(d) for v, d in zip(base, change, strict=True)))


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter (> 1)."""
    return _colour(*(v * factor for v in colour))


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """A colour between `a` (share 0) and `b` (share 1)."""
    return _colour(*(x + (y - x) * share for x, y in zip(a, b, strict=True)))


def _colour(red: float, green: float, blue: float) -> Colour:
    return int(min(max(red, 0), 255)), int(min(max(green, 0), 255)), int(min(max(blue, 0), 255))


PAINTS: tuple[Colour, ...] = (
    *((196, 30, 34), (30, 62, 150), (235, 235, 232), (28, 29, 32), (150, 154, 160), (22, 102, 62)),
    *((236, 190, 40), (226, 112, 32), (92, 32, 110), (112, 190, 220), (110, 66, 40), (206, 200, 180)),
)
"""Colours of things that people make."""


def any_colour(rng: Generator) -> Colour:
    """A colour such as cars, clothes and furniture have."""
    return pick(rng, PAINTS, 26)
