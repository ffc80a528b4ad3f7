"""Drawings of furniture and other things found indoors."""

import math

from numpy.random import Generator

from yoloslim.data.scenes.canvas import Canvas, Colour, any_colour, chance, mix, pick, shade, uniform

WOODS: tuple[Colour, ...] = ((120, 78, 44), (160, 112, 66), (84, 54, 34), (196, 158, 110), (58, 42, 34))
BLACK: Colour = (26, 26, 28)


def bottle(c: Canvas, rng: Generator) -> None:
    """A wine, beer or water bottle with cap and label."""
    glass = pick(rng, [(34, 74, 40), (94, 52, 22), (178, 206, 214), (70, 120, 150), (150, 30, 30), (224, 226, 220)])
    half, neck = uniform(rng, 0.24, 0.33), uniform(rng, 0.08, 0.12)
    shoulder, collar = uniform(rng, -0.34, -0.1), uniform(rng, -0.62, -0.5)
    c.rect(-half, shoulder + 0.05, half, 1.0, glass, 0.09)
    c.blob([(-half, shoulder + 0.3), (-half, shoulder + 0.1), (-half * 0.8, shoulder - 0.05),
           (-neck, collar), (-neck, -0.9), (neck, -0.9), (neck, collar), (half * 0.8, shoulder - 0.05),
           (half, shoulder + 0.1), (half, shoulder + 0.3)], glass)  # fmt: skip
    label = pick(rng, [(240, 236, 220), (220, 190, 90), (190, 40, 44), (40, 80, 150), (40, 130, 70)])
    top = uniform(rng, shoulder + 0.14, shoulder + 0.3)
    low = uniform(rng, 0.5, 0.8)
    c.rect(-half, top, half, low, label, clip=True)
    c.rect(-half, top + 0.04, half, top + 0.1, shade(label, 0.6), clip=True)
    c.ellipse(0, (top + low) / 2 + 0.03, half * 0.5, (low - top) * 0.22, shade(label, 0.5))
    c.limb([(-half * 0.62, shoulder + 0.12), (-half * 0.62, 0.86)], [0.05, 0.05], mix(glass, (255, 255, 255), 0.55))
    c.rect(-neck - 0.025, -1.0, neck + 0.025, -0.84, any_colour(rng), 0.02)


def chair(c: Canvas, rng: Generator) -> None:
    """A kitchen chair in half profile, or an office chair on a star of castors."""
    if chance(rng, 0.25):
        _office_chair(c, rng)
        return
    wood = pick(rng, [*WOODS, (230, 228, 222), (40, 40, 44)])
    cushion = any_colour(rng) if chance(rng, 0.5) else shade(wood, 1.15)
    leg = uniform(rng, 0.06, 0.09)
    depth, lean = uniform(rng, 0.26, 0.36), uniform(rng, 0.02, 0.1)
    far = shade(wood, 0.7)
    c.line([(-0.24, 0.1), (-0.24, 0.86)], leg, far)
    c.line([(0.5, 0.1), (0.5, 0.86)], leg, far)
    c.line([(-0.44 - lean, -0.98), (-0.44, 0.2), (-0.48, 1.0)], leg, wood)
    c.line([(-0.12 - lean, -0.98), (-0.18, 0.1)], leg, far)
    if chance(rng, 0.5):
        for i in range(3):
            y = -0.9 + i * 0.28
            c.polygon([(-0.46 - lean, y), (-0.1 - lean, y), (-0.1 - lean, y + 0.14), (-0.46 - lean, y + 0.14)], wood)
    else:
        c.polygon([(-0.47 - lean, -1.0), (-0.09 - lean, -1.0), (-0.16, -0.12), (-0.44, -0.1)], shade(cushion, 0.9))
    c.polygon([(-0.5, 0.2), (-0.5 + depth, 0.02), (0.58, 0.02), (0.44, 0.2)], cushion)
    c.polygon([(-0.5, 0.2), (0.44, 0.2), (0.44, 0.29), (-0.5, 0.29)], shade(wood, 0.85))
    c.polygon([(0.44, 0.2), (0.58, 0.02), (0.58, 0.11), (0.44, 0.29)], shade(wood, 0.65))
    c.line([(0.41, 0.25), (0.42, 1.0)], leg, wood)
    if chance(rng, 0.5):
        c.line([(-0.46, 0.64), (0.41, 0.64)], leg * 0.6, shade(wood, 0.8))


def _office_chair(c: Canvas, rng: Generator) -> None:
    cloth = pick(rng, [(36, 36, 40), (60, 64, 72), (30, 50, 90), (130, 36, 36)])
    c.line([(0, 0.3), (0, 0.78)], 0.09, (120, 122, 126))
    for x in (-0.5, -0.2, 0.25, 0.52):
        c.line([(0, 0.74), (x, 0.92)], 0.06, (60, 60, 64))
        c.ellipse(x, 0.95, 0.06, 0.06, BLACK)
    c.line([(-0.1, 0.3), (-0.28, -0.1)], 0.07, (70, 70, 74))
    c.blob([(-0.5, -0.9), (-0.2, -1.0), (0.1, -0.94), (0.14, -0.4), (0.06, 0.0), (-0.34, 0.02), (-0.5, -0.4)], cloth)
    c.blob([(-0.4, 0.12), (0.1, 0.06), (0.56, 0.14), (0.56, 0.28), (0.1, 0.32), (-0.4, 0.28)], shade(cloth, 1.25))
    if chance(rng, 0.6):
        c.line([(-0.3, -0.02), (0.02, -0.16), (0.4, -0.16)], 0.06, shade(cloth, 0.6))


def sofa(c: Canvas, rng: Generator) -> None:
    """A sofa from the front: back, two arms, seat cushions and feet."""
    cloth = pick(
        rng, [(120, 60, 44), (84, 92, 104), (196, 184, 160), (52, 72, 96), (128, 36, 44), (90, 110, 84), (46, 42, 42)]
    )
    top, arm = uniform(rng, -0.56, -0.42), uniform(rng, 0.18, 0.26)
    for x in (-0.86, 0.86):
        c.rect(x - 0.05, 0.4, x + 0.05, 0.56, pick(rng, WOODS))
    c.rect(-0.9, top, 0.9, 0.3, shade(cloth, 0.86), 0.12)
    c.rect(-0.95, 0.14, 0.95, 0.48, shade(cloth, 0.72), 0.05)
    seats = int(rng.integers(2, 4))
    width = (2 - 2 * arm) / seats
    for i in range(seats):
        left = -1 + arm + i * width
        c.rect(left + 0.01, top + 0.06, left + width - 0.01, 0.06, shade(cloth, 0.98), 0.08)
        c.rect(left + 0.01, 0.0, left + width - 0.01, 0.2, shade(cloth, 1.14), 0.06)
    for side in (-1, 1):
        inner, outer = sorted((side * (1 - arm), side * 1.0))
        c.rect(inner, uniform(rng, -0.16, -0.08), outer, 0.46, cloth, 0.1)
    for _ in range(int(rng.integers(0, 3))):
        x, tilt = uniform(rng, -0.6, 0.6), uniform(rng, -0.05, 0.05)
        pillow = any_colour(rng)
        c.polygon([(x - 0.15, -0.24 + tilt), (x + 0.15, -0.24 - tilt), (x + 0.16, 0.04), (x - 0.16, 0.04)], pillow)


def diningtable(c: Canvas, rng: Generator) -> None:
    """A table seen from slightly above: rectangular or round, bare or with a cloth, sometimes laid."""
    wood = pick(rng, WOODS)
    leg = uniform(rng, 0.06, 0.1)
    back, front = uniform(rng, -0.4, -0.26), uniform(rng, -0.02, 0.1)
    foot = uniform(rng, 0.6, 0.8)
    is_round, has_cloth = chance(rng, 0.35), chance(rng, 0.3)
    top = any_colour(rng) if has_cloth else shade(wood, 1.2)
    if is_round:
        middle, depth = (back + front) / 2, (front - back) / 2 + 0.05
        c.line([(0, middle), (0, foot)], leg * 2, shade(wood, 0.75))
        for x in (-0.4, 0.0, 0.4):
            c.line([(0, foot - 0.08), (x, foot + 0.06)], leg, shade(wood, 0.7))
        c.ellipse(0, middle + (0.16 if has_cloth else 0.06), 0.98, depth, shade(top, 0.7))
        c.ellipse(0, middle, 0.98, depth, top)
    else:
        inset = uniform(rng, 0.12, 0.3)
        for x, y in ((-0.94 + inset, foot - 0.2), (0.94 - inset, foot - 0.2)):
            c.line([(x, back), (x, y)], leg * 0.8, shade(wood, 0.6))
        for x in (-0.88, 0.88):
            c.line([(x, front), (x, foot)], leg, shade(wood, 0.85))
        apron = uniform(rng, 0.18, 0.34) if has_cloth else 0.1
        c.rect(-0.98, front, 0.98, front + apron, shade(top, 0.72))
        c.polygon([(-0.98, front), (-0.98 + inset, back), (0.98 - inset, back), (0.98, front)], top)
    for _ in range(int(rng.integers(0, 4))):
        x, y = uniform(rng, -0.55, 0.55), uniform(rng, back + 0.1, front - 0.06)
        c.ellipse(x, y, 0.14, 0.045, (238, 238, 234), clip=True)
        c.ellipse(x, y - 0.01, 0.08, 0.025, any_colour(rng), clip=True)


def pottedplant(c: Canvas, rng: Generator) -> None:
    """A pot with broad leaves, blades or a small bush."""
    pot = pick(rng, [(170, 84, 52), (226, 222, 214), (70, 74, 80), (60, 96, 120), (140, 60, 44)])
    green = pick(rng, [(46, 104, 44), (78, 134, 58), (32, 82, 52), (108, 140, 60)])
    rim, base = uniform(rng, 0.3, 0.42), uniform(rng, 0.2, 0.28)
    top = uniform(rng, 0.3, 0.46)
    style = int(rng.integers(3))
    if style == 2:
        c.line([(0, top), (0, -0.1)], 0.06, (92, 66, 44))
    for i in range(int(rng.integers(13, 20))):
        colour = shade(green, uniform(rng, 0.6, 1.35))
        turn = math.radians(uniform(rng, -78, 78))
        reach = uniform(rng, 0.6, 1.25)
        tip = (math.sin(turn) * reach * 0.75, top - math.cos(turn) * reach)
        if style == 0:
            middle = (tip[0] * 0.5, top + (tip[1] - top) * 0.6)
            c.curve([(0, top), middle, tip], 0.025, shade(green, 0.6))
            c.ellipse(*tip, uniform(rng, 0.16, 0.24), uniform(rng, 0.08, 0.12), colour, math.degrees(turn) - 90)
        elif style == 1:
            bend = (tip[0] * 0.35, top + (tip[1] - top) * 0.7)
            c.limb([(0, top), bend, tip], [0.07, 0.1, 0.015], colour)
        else:
            angle, far = i * 2.4, uniform(rng, 0.1, 0.42)
            c.ellipse(math.cos(angle) * far, -0.4 + math.sin(angle) * far, 0.2, 0.18, colour)
    c.polygon([(-rim, top), (rim, top), (base, 1.0), (-base, 1.0)], pot)
    c.polygon([(rim * 0.3, top), (rim, top), (base, 1.0), (base * 0.3, 1.0)], shade(pot, 0.8))
    c.rect(-rim - 0.04, top - 0.04, rim + 0.04, top + 0.08, shade(pot, 1.1), 0.02)


def tvmonitor(c: Canvas, rng: Generator) -> None:
    """A flat screen on a stand, or a deep old television; off or showing something."""
    frame = pick(rng, [(24, 24, 26), (44, 44, 48), (180, 182, 186), (222, 222, 220)], 8)
    is_old = chance(rng, 0.25)
    bottom, border = uniform(rng, 0.4, 0.56), uniform(rng, 0.05, 0.09)
    half = 0.8 if is_old else uniform(rng, 0.9, 1.0)
    if is_old:
        c.rect(-half, -0.62, half, 0.62, frame, 0.08)
        screen = (-half + 0.1, -0.52, half - 0.1, 0.36)
        for x in (0.3, 0.45, 0.6):
            c.ellipse(x, 0.49, 0.045, 0.045, shade(frame, 0.5))
    else:
        c.polygon(
            [(-0.12, bottom - 0.1), (0.12, bottom - 0.1), (0.14, bottom + 0.2), (-0.14, bottom + 0.2)],
            shade(frame, 0.8),
        )
        c.rect(-0.42, bottom + 0.16, 0.42, bottom + 0.24, frame, 0.03)
        c.rect(-half, -0.62, half, bottom, frame, 0.03)
        screen = (-half + border, -0.62 + border, half - border, bottom - border)
    _screen(c, rng, *screen)


def _screen(c: Canvas, rng: Generator, x1: float, y1: float, x2: float, y2: float) -> None:
    kind = int(rng.integers(3))
    c.rect(x1, y1, x2, y2, [(20, 24, 30), (70, 120, 190), (226, 230, 236)][kind], 0.02)
    if kind == 0:
        c.polygon([(x1, y1), (x1 + 0.5, y1), (x1 + 0.1, y2), (x1, y2)], (44, 50, 60))
    elif kind == 1:
        horizon = uniform(rng, y1 + 0.3, y2 - 0.2)
        c.rect(x1, horizon, x2, y2, pick(rng, [(60, 120, 60), (196, 170, 110), (40, 80, 130)]))
        x = uniform(rng, x1 + 0.3, x2 - 0.3)
        c.polygon([(x - 0.25, horizon), (x, horizon - 0.24), (x + 0.25, horizon)], any_colour(rng))
    else:
        c.rect(x1, y1, x2, y1 + 0.09, pick(rng, [(60, 100, 170), (90, 90, 96)]))
        for i in range(6):
            y = y1 + 0.17 + i * (y2 - y1 - 0.2) / 6
            c.rect(x1 + 0.08, y, x1 + 0.08 + uniform(rng, 0.3, 1.2), y + 0.05, (96, 100, 110))
