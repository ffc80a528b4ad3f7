"""Drawings of vehicles, seen from the side facing right, some also from the front."""

import math
from itertools import pairwise

from numpy.random import Generator

from yoloslim.data.scenes.canvas import Canvas, Colour, any_colour, chance, mix, pick, shade, uniform

TYRE: Colour = (26, 26, 28)
STEEL: Colour = (168, 172, 178)
GLASS: Colour = (58, 78, 96)
LAMP: Colour = (250, 244, 206)


def car(c: Canvas, rng: Generator) -> None:
    """A saloon, hatchback, estate or van from the side, or any of them from the front."""
    paint, glass = any_colour(rng), mix(GLASS, (170, 200, 220), uniform(rng, 0, 0.6))
    if chance(rng, 0.25):
        _car_front(c, rng, paint, glass)
        return
    roof, belt, sill = uniform(rng, -0.5, -0.36), uniform(rng, -0.1, -0.04), uniform(rng, 0.24, 0.3)
    front_top, back_top = uniform(rng, 0.12, 0.3), uniform(rng, -0.75, -0.42)
    windscreen, rear = uniform(rng, 0.42, 0.6), min(back_top - 0.05, uniform(rng, -0.9, -0.6))
    c.blob([(-0.98, 0.1), (-0.95, belt), (rear, belt - 0.03), (back_top, roof),
           ((front_top + back_top) / 2, roof - 0.03), (front_top, roof + 0.02),
           (windscreen, belt - 0.02), (0.9, belt + 0.08), (1.0, 0.12), (0.97, sill), (0.5, sill + 0.02),
           (-0.5, sill + 0.02), (-0.96, sill)], paint)  # fmt: skip
    c.polygon([(rear + 0.1, belt), (back_top + 0.05, roof + 0.06), (front_top - 0.03, roof + 0.06),
              (windscreen - 0.08, belt)], glass)  # fmt: skip
    middle = (back_top + front_top) / 2
    c.line([(middle, roof + 0.03), (middle, belt)], 0.05, paint)
    c.line([(middle, belt), (middle - 0.01, sill)], 0.014, shade(paint, 0.55))
    c.rect(middle - 0.16, belt + 0.06, middle - 0.06, belt + 0.085, shade(paint, 0.6))
    c.rect(-0.97, sill - 0.08, 0.97, sill, shade(paint, 0.5), 0.03, clip=True)
    c.ellipse(0.93, 0.06, 0.06, 0.04, LAMP, clip=True)
    c.rect(-1.0, 0.02, -0.93, 0.1, (190, 24, 24), clip=True)
    for x in (-uniform(rng, 0.55, 0.62), uniform(rng, 0.57, 0.64)):
        wheel(c, rng, x, sill, uniform(rng, 0.17, 0.2))


def _car_front(c: Canvas, rng: Generator, paint: Colour, glass: Colour) -> None:
    roof, half = uniform(rng, -0.62, -0.5), uniform(rng, 0.5, 0.58)
    for x in (-0.62, 0.62):
        c.rect(x - 0.13, 0.2, x + 0.13, 0.56, TYRE, 0.05)
    c.blob([(-0.8, 0.1), (-half - 0.12, -0.12), (-half, roof + 0.05), (0, roof - 0.04),
           (half, roof + 0.05), (half + 0.12, -0.12), (0.8, 0.1), (0.8, 0.4), (0, 0.45), (-0.8, 0.4)],
           paint)  # fmt: skip
    c.polygon(
        [(-half - 0.02, -0.14), (-half + 0.07, roof + 0.08), (half - 0.07, roof + 0.08), (half + 0.02, -0.14)], glass
    )
    c.rect(-0.38, 0.12, 0.38, 0.26, shade(paint, 0.3), 0.05)
    c.rect(-0.78, 0.34, 0.78, 0.44, shade(paint, 0.5), 0.04)
    for x in (-0.6, 0.6):
        c.ellipse(x, 0.12, 0.13, 0.08, LAMP)
        c.ellipse(x * 1.4, -0.12, 0.08, 0.05, shade(paint, 0.8))
    c.rect(-0.18, 0.3, 0.18, 0.38, (232, 232, 226))


def wheel(c: Canvas, rng: Generator, x: float, y: float, radius: float) -> None:
    """A car's wheel: tyre, rim and hub."""
    c.ellipse(x, y, radius, radius, TYRE)
    c.ellipse(x, y, radius * 0.62, radius * 0.62, pick(rng, [STEEL, (110, 112, 118)]))
    c.ellipse(x, y, radius * 0.22, radius * 0.22, (70, 72, 76))


def bus(c: Canvas, rng: Generator) -> None:
    """A long box with a row of windows on two axles; sometimes its front."""
    paint, second = any_colour(rng), any_colour(rng)
    glass = mix(GLASS, (150, 180, 200), uniform(rng, 0, 0.5))
    if chance(rng, 0.25):
        for x in (-0.5, 0.5):
            c.rect(x - 0.12, 0.7, x + 0.12, 1.0, TYRE, 0.04)
        c.rect(-0.68, -0.95, 0.68, 0.86, paint, 0.1)
        c.rect(-0.6, -0.6, 0.6, 0.16, glass, 0.06)
        c.line([(0, -0.6), (0, 0.16)], 0.03, shade(paint, 0.5))
        c.rect(-0.45, -0.88, 0.45, -0.68, (24, 24, 20), 0.03)
        c.rect(-0.3, -0.83, 0.3, -0.74, (248, 180, 30))
        c.rect(-0.68, 0.3, 0.68, 0.42, second, clip=True)
        c.rect(-0.68, 0.74, 0.68, 0.86, shade(paint, 0.45), 0.05)
        for x in (-0.5, 0.5):
            c.ellipse(x, 0.58, 0.12, 0.09, LAMP)
            c.rect(x * 1.5 - 0.06, -0.4, x * 1.5 + 0.06, -0.1, (30, 30, 32), 0.03)
        return
    top, floor = uniform(rng, -0.5, -0.4), 0.36
    c.rect(-1, top, 1, floor, paint, 0.08)
    c.rect(-1, 0.02, 1, uniform(rng, 0.1, 0.26), second, clip=True)
    windows = int(rng.integers(5, 8))
    step = 1.5 / windows
    for i in range(windows):
        c.rect(-0.92 + i * step, top + 0.1, -0.92 + (i + 0.86) * step, -0.02, glass, 0.02)
    c.rect(0.86, top + 0.08, 1.0, 0.06, glass, clip=True)
    c.rect(0.62, top + 0.1, 0.8, floor - 0.02, shade(glass, 0.7))
    c.line([(0.71, top + 0.1), (0.71, floor - 0.02)], 0.02, paint)
    c.ellipse(0.97, 0.22, 0.04, 0.05, LAMP, clip=True)
    c.rect(-1, floor - 0.06, 1, floor, shade(paint, 0.45), 0.03, clip=True)
    for x in (-uniform(rng, 0.55, 0.68), uniform(rng, 0.4, 0.5)):
        wheel(c, rng, x, floor - 0.01, 0.15)


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
    top, floor = uniform(rng, -0.24, -0.18), 0.14
    ends = [-1.2, -0.62, -0.04] if chance(rng, 0.6) else [-1.0, -0.2]
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


def bicycle(c: Canvas, rng: Generator) -> None:
    """Two spoked wheels and a frame of tubes."""
    paint, radius = any_colour(rng), uniform(rng, 0.4, 0.46)
    rear, front = (-0.56, 0.22), (0.56, 0.22)
    tube = uniform(rng, 0.04, 0.06)
    for x, y in (rear, front):
        first = uniform(rng, 0, 0.4)
        for spoke in range(7):
            turn = first + spoke * math.pi / 7
            dx, dy = radius * math.cos(turn), radius * math.sin(turn)
            c.line([(x - dx, y - dy), (x + dx, y + dy)], 0.008, (150, 152, 156))
        c.ring(x, y, radius, uniform(rng, 0.045, 0.06), TYRE)
    crank, saddle, head = (-0.1, 0.26), (-0.26, uniform(rng, -0.38, -0.28)), (0.4, uniform(rng, -0.36, -0.28))
    if chance(rng, 0.3):
        c.curve([head, (0.15, 0.12), crank], tube, paint)  # a step-through frame
    else:
        c.line([(saddle[0] + 0.02, saddle[1] + 0.06), head], tube, paint)
        c.line([(head[0] + 0.02, head[1] + 0.06), crank], tube, paint)
    c.line([crank, saddle], tube, paint)
    c.line([rear, crank], tube * 0.8, paint)
    c.line([rear, (saddle[0] + 0.03, saddle[1] + 0.1)], tube * 0.8, paint)
    c.line([front, head, (head[0] - 0.03, head[1] - 0.16)], tube, paint)
    c.curve(
        [(head[0] - 0.16, head[1] - 0.2), (head[0] - 0.02, head[1] - 0.18), (head[0] + 0.12, head[1] - 0.12)],
        0.05,
        TYRE,
    )
    c.line([saddle, (saddle[0] - 0.02, saddle[1] - 0.1)], 0.035, STEEL)
    c.blob(
        [
            (saddle[0] - 0.17, saddle[1] - 0.14),
            (saddle[0] + 0.14, saddle[1] - 0.12),
            (saddle[0] - 0.08, saddle[1] - 0.05),
        ],
        TYRE,
    )
    c.ring(*crank, 0.08, 0.025, STEEL)
    c.line([(crank[0] - 0.06, crank[1] - 0.12), crank, (crank[0] + 0.08, crank[1] + 0.14)], 0.03, (60, 60, 64))


def motorbike(c: Canvas, rng: Generator) -> None:
    """Two fat wheels, a tank, an engine, a long seat and an exhaust."""
    paint, radius = any_colour(rng), uniform(rng, 0.3, 0.35)
    y = 0.3
    for x in (-0.62, 0.64):
        c.ellipse(x, y, radius, radius, TYRE)
        c.ellipse(x, y, radius * 0.6, radius * 0.6, STEEL)
        c.ellipse(x, y, radius * 0.5, radius * 0.5, (70, 70, 74))
        c.ellipse(x, y, radius * 0.18, radius * 0.18, STEEL)
    handle = (0.3, uniform(rng, -0.56, -0.44))
    c.line([(0.64, y), (0.38, -0.3)], 0.09, STEEL)
    c.polygon([(-0.3, 0.0), (0.3, -0.04), (0.26, 0.36), (-0.24, 0.38)], (58, 58, 62))
    for i in range(4):
        c.line([(-0.18, 0.06 + i * 0.07), (0.2, 0.04 + i * 0.07)], 0.025, (140, 142, 146))
    c.line([(-0.62, y), (-0.1, 0.2)], 0.1, (48, 48, 50))
    c.blob([(-0.16, -0.02), (-0.12, -0.26), (0.14, -0.36), (0.38, -0.28), (0.36, -0.06), (0.1, 0.02)], paint)
    c.blob([(-0.1, -0.24), (-0.4, -0.18), (-0.8, -0.3), (-0.86, -0.2), (-0.5, -0.04), (-0.14, -0.06)], (38, 34, 34))
    c.blob([(-0.9, -0.14), (-0.62, -0.12), (-0.3, 0.0), (-0.36, 0.1), (-0.7, -0.02)], paint)
    c.limb([(0.1, 0.36), (-0.3, 0.42), (-0.86, 0.32)], [0.06, 0.08, 0.12], STEEL)
    c.blob(
        [(0.34, y - radius + 0.06), (0.64, y - radius - 0.06), (0.94, y - radius + 0.1), (0.64, y - radius + 0.04)],
        paint,
    )
    c.curve([(0.38, -0.3), (handle[0] + 0.06, handle[1] + 0.05), (handle[0] - 0.1, handle[1])], 0.05, (30, 30, 32))
    c.ellipse(0.46, -0.32, 0.1, 0.1, shade(paint, 0.8))
    c.ellipse(0.5, -0.32, 0.07, 0.08, LAMP)
    if chance(rng, 0.5):
        c.polygon([(0.4, -0.4), (0.56, -0.36), (0.4, -0.62), (0.3, -0.6)], (120, 144, 160))


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
