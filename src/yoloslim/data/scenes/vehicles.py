"""Drawings of road vehicles, seen from the side facing right, some also from the front."""

import math

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
