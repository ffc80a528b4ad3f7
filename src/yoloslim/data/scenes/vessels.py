"""Drawings of what runs on rails, flies or swims."""

from itertools import pairwise

from numpy.random import Generator

from yoloslim.data.scenes.canvas import Canvas, Colour, any_colour, chance, pick, shade, uniform
from yoloslim.data.scenes.vehicles import GLASS, LAMP, STEEL


def train(c: Canvas, rng: Generator) -> None:
    """A locomotive with a slanted nose and carriages behind, on many small wheels; sometimes its front."""
    paint, second = any_colour(rng), any_colour(rng)
    if chance(rng, 0.25):
        c.blob([(-0.6, 0.8), (-0.64, -0.2), (-0.46, -0.8), (0, -0.92), (0.46, -0.8), (0.64, -0.2), (0.6, 0.8)], paint)
        c.blob([(-0.44, -0.08), (-0.38, -0.56), (0, -0.64), (0.38, -0.56), (0.44, -0.08), (0, -0.02)], GLASS)
        c.blob([(-0.6, 0.3), (0, 0.12), (0.6, 0.3), (0.6, 0.56), (0, 0.42), (-0.6, 0.56)], second, clip=True)
        for x in (-0.4, 0.4):
            c.ellipse(x, 0.3, 0.1, 0.1, LAMP)
        c.ellipse(0, -0.76, 0.07, 0.06, LAMP)
        c.polygon([(-0.62, 0.78), (0.62, 0.78), (0.4, 1.0), (-0.4, 1.0)], (48, 46, 46))
        c.rect(-0.1, 0.66, 0.1, 0.84, (24, 24, 24))
        return
    top, floor = uniform(rng, -0.34, -0.26), 0.14
    ends = [-1.2, -0.62, -0.04] if chance(rng, 0.3) else [-0.95, -0.2]
    for left, right in pairwise(ends):
        c.rect(right - 0.06, floor - 0.1, right + 0.06, floor - 0.02, (40, 40, 42))
        c.rect(left, top, right - 0.03, floor, paint, 0.03)
        for i in range(4):
            x = left + 0.06 + i * (right - left - 0.1) / 4
            c.rect(x, top + 0.07, x + 0.09, top + 0.19, GLASS, 0.01)
        _bogies(c, left + 0.12, right - 0.14, floor)
    left = ends[-1]
    nose = uniform(rng, 0.1, 0.34)
    c.blob([(left, floor), (left, top), (left + 0.4, top - 0.01), (1.08 - nose, top), (1.12, -0.02),
           (1.2, 0.08), (1.16, floor), (left + 0.5, floor)], paint)  # fmt: skip
    c.rect(left, top, left + 0.1, floor, paint)
    c.polygon(
        [(1.04 - nose, top + 0.04), (1.1 - nose * 0.5, top + 0.05), (1.12 - nose * 0.2, -0.02), (1.0 - nose, -0.02)],
        GLASS,
    )
    for i in range(3):
        c.rect(left + 0.12 + i * 0.17, top + 0.07, left + 0.22 + i * 0.17, top + 0.17, GLASS, 0.01)
    c.rect(-1.2, 0.02, 1.2, 0.07, second, clip=True)
    c.ellipse(1.14, 0.06, 0.03, 0.03, LAMP, clip=True)
    _bogies(c, left + 0.16, 0.92, floor)


def _bogies(c: Canvas, left: float, right: float, floor: float) -> None:
    for x in (left, right):
        c.rect(x - 0.12, floor - 0.02, x + 0.12, floor + 0.05, (44, 42, 42))
        for dx in (-0.07, 0.07):
            c.ellipse(x + dx, floor + 0.05, 0.055, 0.055, (62, 60, 60))


def aeroplane(c: Canvas, rng: Generator) -> None:
    """An airliner from the side or from below, or a small propeller aeroplane."""
    body = pick(rng, [(232, 234, 238), (214, 218, 224), (190, 196, 204), (240, 214, 120), (120, 134, 150)])
    accent = any_colour(rng)
    if chance(rng, 0.4):
        _from_below(c, rng, body, accent)
        return
    slim = uniform(rng, 0.1, 0.15)
    c.polygon([(-0.98, -0.5), (-0.76, -0.5), (-0.52, -slim + 0.02), (-0.86, -0.02)], accent)
    far = shade(body, 0.72)
    c.polygon([(0.08, -0.02), (-0.12, -uniform(rng, 0.3, 0.42)), (-0.24, -0.34), (-0.18, -0.02)], far)
    c.blob([(-1.02, -0.08), (-0.6, -slim), (0.5, -slim), (0.84, -slim * 0.7), (1.0, 0.03),
           (0.8, slim * 0.9), (0.3, slim), (-0.5, slim * 0.8)], body)  # fmt: skip
    c.rect(-1.0, 0.03, 1.0, 0.07, accent, clip=True)
    for window in range(11):
        c.ellipse(-0.55 + window * 0.11, -0.025, 0.022, 0.026, (60, 72, 92))
    c.polygon([(0.82, -slim * 0.66), (0.93, -0.03), (0.78, -0.02)], (40, 52, 70), clip=True)
    c.polygon([(-0.98, -0.06), (-1.1, 0.08), (-0.98, 0.09), (-0.7, -0.02)], shade(body, 0.85))
    drop = uniform(rng, 0.3, 0.46)
    c.ellipse(0.06, slim + 0.07, 0.13, 0.065, shade(body, 0.66))
    c.polygon([(0.2, 0.05), (-0.3, drop), (-0.42, drop), (-0.22, 0.05)], shade(body, 0.85))


def _from_below(c: Canvas, rng: Generator, body: Colour, accent: Colour) -> None:
    sweep, span = uniform(rng, 0.1, 0.5), uniform(rng, 0.7, 0.95)
    for side in (-1, 1):
        c.polygon([(0.24, side * 0.08), (0.24 - sweep, side * span), (0.1 - sweep, side * span),
                  (-0.14, side * 0.08)], shade(body, 0.86))  # fmt: skip
        c.polygon(
            [(-0.72, side * 0.04), (-0.92, side * 0.34), (-1.02, side * 0.34), (-0.9, side * 0.04)], shade(body, 0.8)
        )
        c.ellipse(0.2 - sweep * 0.4, side * span * 0.42, 0.12, 0.05, accent)
    c.blob(
        [(-1.0, 0), (-0.6, -0.08), (0.5, -0.1), (0.86, -0.07), (1.0, 0), (0.86, 0.07), (0.5, 0.1), (-0.6, 0.08)], body
    )
    c.line([(-1.0, 0), (-0.62, 0)], 0.04, accent)


def boat(c: Canvas, rng: Generator) -> None:
    """A sailing boat, or a motor boat with a cabin."""
    hull, deck = any_colour(rng), pick(rng, [(236, 232, 222), (150, 104, 62)])
    keel = uniform(rng, 0.1, 0.2)
    if chance(rng, 0.6):
        sail = pick(rng, [(244, 242, 236), (232, 226, 208), (206, 60, 50), (60, 90, 150)])
        mast = uniform(rng, -0.1, 0.12)
        c.line([(mast, 0.5), (mast, -0.98)], 0.035, (120, 96, 70))
        c.blob(
            [
                (mast - 0.04, -0.94),
                (mast - 0.3, -0.3),
                (mast - uniform(rng, 0.5, 0.66), 0.3),
                (mast - 0.3, 0.36),
                (mast - 0.04, 0.34),
            ],
            sail,
        )
        c.polygon(
            [(mast + 0.04, -0.84), (mast + 0.36, -0.2), (mast + uniform(rng, 0.45, 0.62), 0.4), (mast + 0.05, 0.36)],
            shade(sail, 0.88),
        )
        c.blob(
            [
                (-0.8, 0.52),
                (0, 0.56),
                (0.9, 0.44),
                (0.66, 0.6 + keel),
                (0.4, 0.7 + keel),
                (-0.5, 0.7 + keel),
                (-0.7, 0.6 + keel),
            ],
            hull,
        )
        c.line([(-0.78, 0.55), (0, 0.59), (0.84, 0.48)], 0.04, deck)
        return
    c.rect(-0.5, -0.34, 0.12, 0.12, deck, 0.05)
    c.polygon([(0.1, -0.3), (0.3, 0.1), (0.1, 0.1)], GLASS)
    for x in (-0.42, -0.22, -0.02):
        c.rect(x, -0.24, x + 0.13, -0.08, GLASS, 0.02)
    c.rect(-0.56, -0.42, 0.16, -0.33, shade(hull, 0.9), 0.03)
    if chance(rng, 0.6):
        c.line([(-0.2, -0.4), (-0.2, -0.85)], 0.03, STEEL)
    c.blob([(-0.96, 0.06), (0, 0.12), (0.7, 0.04), (1.02, -0.08), (0.82, 0.26), (0.6, 0.36 + keel),
           (-0.6, 0.36 + keel), (-0.9, 0.26)], hull)  # fmt: skip
    c.rect(-1, 0.14, 1, 0.2, deck, clip=True)
    c.rect(-1, 0.3 + keel / 2, 1, 0.8, shade(hull, 0.5), clip=True)
