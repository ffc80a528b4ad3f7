"""Drawings of people: standing, walking or sitting, facing the viewer or to the right."""

import math

from numpy.random import Generator

from yoloslim.data.scenes.canvas import Canvas, Colour, Point, any_colour, chance, pick, shade, uniform

SKINS: tuple[Colour, ...] = ((236, 196, 166), (214, 164, 128), (172, 118, 84), (120, 78, 54), (84, 54, 40))
HAIRS: tuple[Colour, ...] = ((32, 26, 24), (84, 54, 34), (178, 134, 72), (120, 118, 116), (130, 60, 30))
TROUSERS: tuple[Colour, ...] = ((36, 44, 70), (60, 86, 130), (40, 40, 42), (120, 104, 80), (90, 92, 96))


def person(c: Canvas, rng: Generator) -> None:
    """One clothed person; proportions, pose, hair and colours vary."""
    skin, hair = pick(rng, SKINS, 10), pick(rng, HAIRS, 10)
    top, legs = any_colour(rng), pick(rng, TROUSERS)
    build = uniform(rng, 0.85, 1.2)
    shoulder, hip = (0.0, -0.54), (0.0, 0.06)
    half = 0.2 * build
    if chance(rng, 0.2):
        hip = (-0.05, 0.1)
        _sitting_legs(c, rng, hip, legs, build)
    else:
        _standing_legs(c, rng, hip, legs, skin, build)
    arms = [_arm(rng, side * half * 1.02, shoulder[1] + 0.07, side) for side in (-1, 1)]
    sleeve = skin if chance(rng, 0.3) else top
    _draw_arm(c, arms[0], shade(top, 0.8), shade(sleeve, 0.8), skin, build)
    c.rect(-0.055, -0.68, 0.055, -0.5, shade(skin, 0.85))
    c.blob([(-half, -0.53), (0, -0.6), (half, -0.53), (half * 0.9, -0.2), (half * 0.86, hip[1] + 0.04),
           (0, hip[1] + 0.07), (-half * 0.86, hip[1] + 0.04), (-half * 0.9, -0.2)], top)  # fmt: skip
    if chance(rng, 0.4):
        _pattern(c, rng, top, half, hip[1])
    _draw_arm(c, arms[1], shade(top, 0.92), shade(sleeve, 0.95), skin, build)
    _head(c, rng, skin, hair)


def _pattern(c: Canvas, rng: Generator, top: Colour, half: float, waist: float) -> None:
    second = any_colour(rng)
    if chance(rng, 0.5):
        for i in range(4):
            c.rect(-half * 0.9, -0.46 + i * 0.13, half * 0.9, -0.41 + i * 0.13, second, clip=True)
    else:
        c.polygon([(-0.06, -0.57), (0.06, -0.57), (0.02, waist), (-0.02, waist)], second, clip=True)
        c.rect(-half * 0.9, waist - 0.03, half * 0.9, waist + 0.02, shade(top, 0.5), clip=True)


def _arm(rng: Generator, x: float, y: float, side: int) -> list[Point]:
    upper = math.radians(uniform(rng, -8, 40) if chance(rng, 0.8) else uniform(rng, 60, 150))
    lower = upper + math.radians(uniform(rng, -70, 15))
    elbow = (x + side * 0.27 * math.sin(upper), y + 0.27 * math.cos(upper))
    return [(x, y), elbow, (elbow[0] + side * 0.25 * math.sin(lower), elbow[1] + 0.25 * math.cos(lower))]


def _draw_arm(c: Canvas, arm: list[Point], upper: Colour, lower: Colour, skin: Colour, build: float) -> None:
    c.limb(arm[1:], [0.09 * build, 0.07 * build], lower)
    c.limb(arm[:2], [0.13 * build, 0.1 * build], upper)
    c.ellipse(*arm[2], 0.05, 0.055, skin)


def _standing_legs(c: Canvas, rng: Generator, hip: Point, cloth: Colour, skin: Colour, build: float) -> None:
    shoe = pick(rng, [(34, 30, 30), (110, 70, 44), (232, 232, 230), (180, 40, 40)])
    stride = uniform(rng, 0.02, 0.3) if chance(rng, 0.6) else 0.03
    is_short = chance(rng, 0.25)
    for side in (-1, 1):
        tone = 0.8 if side < 0 else 1.0
        top = (hip[0] + side * 0.085 * build, hip[1])
        knee = (top[0] + side * stride * 0.45, hip[1] + 0.42)
        foot = (top[0] + side * stride, 0.93)
        c.limb([knee, foot], [0.12 * build, 0.09 * build], shade(skin if is_short else cloth, tone))
        c.limb([top, knee], [0.2 * build, 0.14 * build], shade(cloth, tone))
        c.limb([foot, (foot[0] + 0.09, 0.955)], [0.1, 0.075], shade(shoe, tone))
    if chance(rng, 0.15):
        half = 0.17 * build
        c.polygon([(-half, hip[1] - 0.02), (half, hip[1] - 0.02), (half * 1.8, 0.52), (-half * 1.8, 0.52)], cloth)


def _sitting_legs(c: Canvas, rng: Generator, hip: Point, cloth: Colour, build: float) -> None:
    shoe = pick(rng, [(34, 30, 30), (110, 70, 44), (232, 232, 230)])
    for far in (True, False):
        tone = 0.75 if far else 1.0
        knee = (hip[0] + uniform(rng, 0.36, 0.44), hip[1] + (0.02 if far else 0.06))
        foot = (knee[0] + uniform(rng, -0.05, 0.1), hip[1] + 0.48)
        c.limb([hip, knee, foot], [0.24 * build, 0.16 * build, 0.1 * build], shade(cloth, tone))
        c.limb([foot, (foot[0] + 0.12, foot[1] + 0.02)], [0.1, 0.07], shade(shoe, tone))


def _head(c: Canvas, rng: Generator, skin: Colour, hair: Colour) -> None:
    y, turn = -0.8, uniform(rng, -0.05, 0.06)
    style = int(rng.integers(4))
    if style == 0:
        c.blob(
            [(-0.15, y - 0.05), (0, y - 0.19), (0.15, y - 0.05), (0.17, y + 0.22), (0, y + 0.24), (-0.17, y + 0.22)],
            hair,
        )
    c.ellipse(turn, y, 0.115, 0.15, skin)
    if style == 3:
        cap = any_colour(rng)
        c.blob(
            [(-0.13, y - 0.05), (-0.1, y - 0.17), (0, y - 0.2), (0.11, y - 0.17), (0.13, y - 0.05), (0, y - 0.07)], cap
        )
        c.limb([(0.05, y - 0.06), (0.2, y - 0.04)], [0.045, 0.03], shade(cap, 0.8))
    else:
        low = -0.02 if style == 2 else 0.03
        c.blob([(-0.13, y + low), (-0.12, y - 0.12), (0, y - 0.19), (0.12, y - 0.12), (0.13, y + low),
               (0.09, y - 0.06), (turn, y - 0.09), (-0.09, y - 0.06)], hair)  # fmt: skip
    for side in (-1, 1):
        c.ellipse(turn + side * 0.045, y - 0.01, 0.016, 0.013, (36, 28, 26))
    c.line([(turn - 0.035, y + 0.085), (turn + 0.035, y + 0.085)], 0.018, shade(skin, 0.6))
    c.line([(turn, y + 0.01), (turn + 0.012, y + 0.045)], 0.012, shade(skin, 0.78))
