"""Drawings of animals, facing right."""

import math
from dataclasses import dataclass

from numpy.random import Generator

from yoloslim.data.scenes.canvas import Canvas, Colour, chance, mix, pick, shade, uniform

DARK: Colour = (28, 24, 22)


@dataclass(frozen=True)
class Build:
    """Proportions of a standing four-legged animal: half lengths and heights in drawing units."""

    length: float
    depth: float
    back: float
    leg_width: float
    ground: float

    @property
    def belly(self) -> float:
        """Lowest point of the trunk."""
        return self.back + 2 * self.depth


def _legs(c: Canvas, rng: Generator, build: Build, colour: Colour, hoof: Colour) -> None:
    """Four legs in some phase of a walk, the far pair darker."""
    stride = uniform(rng, -0.16, 0.16)
    hip = build.back + build.depth
    for far in (True, False):
        tone = shade(colour, 0.66 if far else 0.92)
        swing = -stride if far else stride
        for x, sign in ((-build.length * 0.76, 1), (build.length * 0.7, -1)):
            top = x + (0.07 if far else 0.0)
            knee = (top + swing * sign * 0.4 - 0.02, (hip + build.ground) / 2 + 0.06)
            foot = (top + swing * sign, build.ground - (0.03 if far else 0.0))
            w = build.leg_width
            c.limb([(top, hip), knee, foot], [w * 1.9, w, w * 0.8], tone)
            c.rect(foot[0] - w * 0.5, foot[1] - 0.05, foot[0] + w * 0.7, foot[1] + 0.02, hoof)


def _trunk(c: Canvas, build: Build, colour: Colour, waist: float = 0.0) -> None:
    length, back, belly = build.length, build.back, build.belly
    c.blob([(-length, back + 0.1), (-length * 0.8, back - 0.01), (0, back + 0.03),
           (length * 0.75, back - 0.02), (length, back + 0.14), (length * 0.9, belly - 0.06),
           (length * 0.45, belly), (-length * 0.3, belly - waist), (-length * 0.85, belly - 0.08),
           (-length * 1.02, back + build.depth)], colour)  # fmt: skip


def _eye(c: Canvas, x: float, y: float, size: float = 0.025) -> None:
    c.ellipse(x, y, size, size, DARK)


def horse(c: Canvas, rng: Generator) -> None:
    """Long legs, long neck, mane and hanging tail."""
    coat = pick(rng, [(112, 64, 34), (72, 44, 30), (158, 104, 60), (206, 200, 190), (40, 34, 32), (176, 130, 84)])
    mane = pick(rng, [(34, 26, 22), (60, 40, 28), (222, 206, 170)], 10)
    build = Build(0.56, uniform(rng, 0.18, 0.22), -0.28, 0.09, 0.98)
    c.limb([(-0.54, -0.2), (-0.7, 0.0), (-0.72, uniform(rng, 0.34, 0.5))], [0.1, 0.16, 0.05], mane)
    _legs(c, rng, build, coat, DARK)
    _trunk(c, build, coat, 0.06)
    lift = uniform(rng, -0.1, 0.3)
    poll = (0.84, -0.86 + lift)
    c.limb([(0.42, -0.08), (0.66, -0.48 + lift * 0.5), poll], [0.38, 0.27, 0.18], coat)
    c.limb([poll, (poll[0] + 0.14, poll[1] + 0.16), (poll[0] + 0.26, poll[1] + 0.34)], [0.2, 0.18, 0.12], coat)
    c.polygon(
        [(poll[0] - 0.07, poll[1] - 0.02), (poll[0] - 0.02, poll[1] - 0.2), (poll[0] + 0.05, poll[1] - 0.05)], coat
    )
    c.limb([(poll[0] - 0.04, poll[1] - 0.06), (0.54, -0.52 + lift * 0.5), (0.36, -0.24)], [0.09, 0.13, 0.08], mane)
    if chance(rng, 0.4):
        c.limb([(poll[0] + 0.09, poll[1]), (poll[0] + 0.24, poll[1] + 0.24)], [0.04, 0.04], (236, 232, 226))
    _eye(c, poll[0] + 0.1, poll[1] + 0.08)
    c.ellipse(poll[0] + 0.28, poll[1] + 0.38, 0.02, 0.015, DARK)


def cow(c: Canvas, rng: Generator) -> None:
    """A heavy trunk on short legs, horns, udder and, often, patches."""
    coat = pick(rng, [(238, 234, 226), (146, 84, 46), (40, 36, 36), (190, 140, 90)])
    patch = pick(rng, [(30, 28, 28), (134, 70, 38)])
    build = Build(0.72, uniform(rng, 0.25, 0.29), -0.4, 0.12, 0.76)
    c.curve([(-0.72, -0.3), (-0.82, -0.1), (-0.8, 0.3)], 0.04, shade(coat, 0.8))
    c.ellipse(-0.8, 0.34, 0.04, 0.08, DARK)
    _legs(c, rng, build, coat, DARK)
    c.ellipse(-0.3, build.belly, 0.13, 0.1, (226, 170, 160))
    _trunk(c, build, coat)
    if chance(rng, 0.75):
        for _ in range(int(rng.integers(3, 6))):
            x, y = uniform(rng, -0.6, 0.6), uniform(rng, build.back, build.belly - 0.1)
            c.blob([(x + uniform(rng, 0.1, 0.24) * math.cos(a), y + uniform(rng, 0.08, 0.2) * math.sin(a))
                   for a in (0, 1, 2.1, 3.1, 4.2, 5.2)], patch, clip=True)  # fmt: skip
    head = (0.92, uniform(rng, -0.44, 0.0))
    c.limb([(0.58, -0.12), head], [0.44, 0.26], coat)
    for tip in ((0.84, head[1] - 0.3), (1.02, head[1] - 0.28)):
        c.limb([(0.93, head[1] - 0.1), tip], [0.06, 0.02], (226, 216, 190))
    c.ellipse(0.78, head[1] - 0.05, 0.11, 0.05, shade(coat, 0.75), -20)
    c.limb([head, (1.04, head[1] + 0.2)], [0.27, 0.18], coat)
    c.ellipse(1.06, head[1] + 0.25, 0.11, 0.09, (214, 160, 148))
    _eye(c, 0.98, head[1])


def sheep(c: Canvas, rng: Generator) -> None:
    """A ball of wool on thin legs with a bare face."""
    wool = pick(rng, [(232, 226, 210), (214, 204, 184), (180, 168, 150), (244, 240, 232)])
    face = pick(rng, [(38, 34, 34), (66, 54, 48), (222, 206, 186)])
    build = Build(0.56, 0.34, -0.42, 0.075, 0.7)
    _legs(c, rng, build, face, DARK)
    for ring, count in ((1.0, 18), (0.6, 10), (0.2, 4)):
        for i in range(count):
            turn = 2 * math.pi * i / count + ring
            x, y = 0.62 * ring * math.cos(turn), -0.1 + 0.36 * ring * math.sin(turn)
            tone = shade(wool, uniform(rng, 0.86, 1.05) - 0.14 * ring * max(0.0, math.sin(turn)))
            c.ellipse(x, y, uniform(rng, 0.13, 0.18), uniform(rng, 0.12, 0.16), tone)
    head = (0.76, uniform(rng, -0.4, 0.1))
    c.limb([(0.5, -0.16), head], [0.34, 0.24], shade(wool, 0.95))
    c.limb([head, (head[0] + 0.16, head[1] + 0.16)], [0.24, 0.15], face)
    c.ellipse(head[0] - 0.09, head[1] - 0.02, 0.12, 0.05, shade(face, 0.85), 25)
    c.ellipse(head[0] - 0.02, head[1] - 0.1, 0.14, 0.09, wool)
    _eye(c, head[0] + 0.05, head[1] + 0.03, 0.02)


def dog(c: Canvas, rng: Generator) -> None:
    """A slim-waisted trunk, a snout, hanging or pricked ears and a raised tail; standing or sitting."""
    coat = pick(rng, [(170, 116, 62), (60, 44, 36), (226, 214, 194), (120, 84, 56), (36, 34, 36), (204, 164, 104)])
    ear = shade(coat, uniform(rng, 0.55, 0.8))
    if chance(rng, 0.3):
        c.limb([(-0.36, 0.84), (-0.62, 0.86), (-0.82, 0.66)], [0.12, 0.1, 0.04], shade(coat, 0.8))
        c.ellipse(-0.22, 0.62, 0.34, 0.32, shade(coat, 0.92))
        c.limb([(-0.2, 0.5), (0.06, -0.1), (0.14, -0.4)], [0.62, 0.46, 0.3], coat)
        for x in (0.12, 0.26):
            c.limb([(x - 0.04, 0.1), (x, 0.9), (x + 0.1, 0.94)], [0.2, 0.12, 0.1], shade(coat, 0.85 + x / 2))
        _dog_head(c, rng, (0.18, -0.56), coat, ear)
        return
    build = Build(0.54, uniform(rng, 0.15, 0.2), -0.16, 0.09, 0.74)
    c.limb([(-0.5, -0.06), (-0.72, -0.24), (-0.8, uniform(rng, -0.56, -0.3))], [0.12, 0.09, 0.04], coat)
    _legs(c, rng, build, coat, shade(coat, 0.6))
    _trunk(c, build, coat, 0.1)
    head = (0.66, uniform(rng, -0.52, -0.34))
    c.limb([(0.42, 0.0), head], [0.34, 0.24], coat)
    _dog_head(c, rng, head, coat, ear)


def _dog_head(c: Canvas, rng: Generator, head: tuple[float, float], coat: Colour, ear: Colour) -> None:
    x, y = head
    snout = uniform(rng, 0.24, 0.36)
    c.ellipse(x, y, 0.2, 0.18, coat)
    c.limb([(x + 0.06, y + 0.04), (x + snout, y + 0.08)], [0.22, 0.13], shade(coat, 1.08))
    c.ellipse(x + snout + 0.05, y + 0.04, 0.05, 0.045, DARK)
    c.line([(x + 0.12, y + 0.13), (x + snout, y + 0.14)], 0.018, DARK)
    if chance(rng, 0.65):
        c.blob(
            [(x - 0.12, y - 0.14), (x + 0.0, y - 0.1), (x - 0.04, y + 0.2), (x - 0.16, y + 0.26), (x - 0.2, y + 0.06)],
            ear,
        )
    else:
        c.polygon([(x - 0.16, y - 0.08), (x - 0.1, y - 0.36), (x + 0.04, y - 0.14)], ear)
    _eye(c, x + 0.09, y - 0.05)


def cat(c: Canvas, rng: Generator) -> None:
    """A round face with two pricked ears; sitting towards the viewer, or walking with its tail up."""
    coat = pick(rng, [(150, 130, 110), (206, 140, 74), (48, 46, 48), (226, 220, 210), (120, 118, 122), (94, 76, 60)])
    stripes = shade(coat, 0.6) if chance(rng, 0.5) else None
    if chance(rng, 0.5):
        tail = [(0.3, 0.86), (0.66, 0.8), (0.74, 0.5), (0.6, 0.3)]
        c.limb(tail, [0.14, 0.13, 0.11, 0.07], shade(coat, 0.85))
        c.blob([(-0.2, -0.24), (0.2, -0.24), (0.42, 0.4), (0.44, 0.9), (0, 0.98), (-0.44, 0.9), (-0.42, 0.4)], coat)
        if stripes:
            for y in (0.2, 0.38, 0.56):
                for side in (-1, 1):
                    c.line([(side * 0.5, y), (side * 0.2, y + 0.06)], 0.04, stripes)
        c.ellipse(0, 0.3, 0.17, 0.34, mix(coat, (245, 240, 232), 0.45))
        for x in (-0.13, 0.13):
            c.limb([(x, 0.3), (x, 0.92)], [0.16, 0.17], shade(coat, 0.94))
            c.ellipse(x, 0.93, 0.12, 0.07, mix(coat, (245, 240, 232), 0.4))
        _cat_face(c, rng, (uniform(rng, -0.06, 0.06), -0.5), 0.36, coat, stripes)
        return
    build = Build(0.48, uniform(rng, 0.14, 0.17), -0.02, 0.085, 0.66)
    c.limb([(-0.44, 0.06), (-0.72, -0.1), (-0.76, -0.5), (-0.62, -0.72)], [0.1, 0.1, 0.09, 0.06], shade(coat, 0.9))
    _legs(c, rng, build, coat, shade(coat, 0.8))
    _trunk(c, build, coat, 0.04)
    if stripes:
        for i in range(5):
            x = -0.4 + i * 0.16
            c.curve([(x, -0.06), (x + 0.03, 0.08), (x, 0.2)], 0.045, stripes)
    c.limb([(0.4, 0.08), (0.58, -0.12)], [0.26, 0.24], coat)
    _cat_face(c, rng, (0.62, -0.22), 0.27, coat, stripes)


def _cat_face(
    c: Canvas, rng: Generator, centre: tuple[float, float], r: float, coat: Colour, stripes: Colour | None
) -> None:
    x, y = centre
    for side in (-1, 1):
        c.polygon(
            [
                (x + side * r * 0.95, y - r * 0.2),
                (x + side * r * 0.85, y - r * 1.35),
                (x + side * r * 0.1, y - r * 0.75),
            ],
            coat,
        )
        c.polygon(
            [
                (x + side * r * 0.8, y - r * 0.5),
                (x + side * r * 0.76, y - r * 1.1),
                (x + side * r * 0.32, y - r * 0.74),
            ],
            (206, 150, 140),
        )
    c.ellipse(x, y, r, r * 0.86, coat)
    if stripes:
        for dx in (-0.25, 0.0, 0.25):
            c.line([(x + dx * r, y - r * 0.8), (x + dx * r * 0.8, y - r * 0.45)], r * 0.1, stripes)
    c.ellipse(x, y + r * 0.4, r * 0.45, r * 0.32, mix(coat, (248, 244, 238), 0.6))
    iris = pick(rng, [(170, 190, 70), (220, 170, 50), (90, 150, 190)])
    for side in (-1, 1):
        c.ellipse(x + side * r * 0.42, y - r * 0.05, r * 0.2, r * 0.17, iris)
        c.ellipse(x + side * r * 0.42, y - r * 0.05, r * 0.07, r * 0.16, DARK)
        for dy in (0.3, 0.42):
            c.line(
                [(x + side * r * 0.3, y + r * dy), (x + side * r * 1.15, y + r * (dy * 1.5 - 0.2))],
                r * 0.025,
                (236, 234, 230),
            )
    c.polygon([(x - r * 0.1, y + r * 0.24), (x + r * 0.1, y + r * 0.24), (x, y + r * 0.36)], (196, 110, 110))


def bird(c: Canvas, rng: Generator) -> None:
    """A perched bird with a folded wing, or one in flight with spread wings."""
    coat = pick(
        rng,
        [(110, 84, 60), (52, 54, 60), (60, 100, 170), (196, 60, 44), (222, 222, 220), (216, 180, 50), (80, 130, 80)],
    )
    chest = mix(coat, pick(rng, [(240, 230, 210), (226, 140, 60)]), 0.6)
    beak = pick(rng, [(230, 160, 40), (60, 56, 54)])
    if chance(rng, 0.4):
        lift = uniform(rng, -0.95, -0.4)
        c.blob([(-0.1, -0.02), (-0.3, lift * 0.6), (-0.5, lift), (-0.66, lift * 0.7), (-0.42, 0.0)], shade(coat, 0.65))
        c.polygon([(-0.5, 0.02), (-0.98, -0.08), (-0.94, 0.14), (-0.5, 0.12)], shade(coat, 0.8))
        c.blob([(-0.6, 0.04), (-0.1, -0.12), (0.42, -0.1), (0.56, 0.06), (0.2, 0.2), (-0.3, 0.16)], coat)
        c.blob([(0.5, 0.08), (0.2, 0.2), (-0.3, 0.17), (0.1, 0.1)], chest, clip=True)
        c.blob(
            [(0.24, -0.04), (0.14, lift * 0.7), (-0.1, lift * 1.02), (-0.22, lift * 0.8), (-0.24, 0.0)],
            shade(coat, 0.85),
        )
        head = (0.56, -0.06)
    else:
        for x in (-0.04, 0.12):
            c.line([(x, 0.5), (x + 0.02, 0.92), (x + 0.14, 0.95)], 0.035, shade(beak, 0.7))
        c.polygon([(-0.4, 0.24), (-1.0, uniform(rng, 0.5, 0.7)), (-0.92, 0.76), (-0.3, 0.5)], shade(coat, 0.7))
        c.blob([(-0.5, 0.36), (-0.3, 0.0), (0.1, -0.3), (0.42, -0.2), (0.44, 0.2), (0.2, 0.54), (-0.2, 0.56)], coat)
        c.blob([(0.36, -0.1), (0.48, 0.16), (0.2, 0.58), (-0.1, 0.56), (0.16, 0.2)], chest, clip=True)
        c.blob([(-0.72, 0.5), (-0.4, 0.14), (0.04, -0.06), (0.18, 0.14), (-0.06, 0.36)], shade(coat, 0.75))
        head = (0.34, -0.44)
    c.ellipse(*head, 0.25, 0.23, coat)
    c.polygon(
        [
            (head[0] + 0.2, head[1] - 0.08),
            (head[0] + uniform(rng, 0.42, 0.54), head[1] + 0.03),
            (head[0] + 0.19, head[1] + 0.1),
        ],
        beak,
    )
    _eye(c, head[0] + 0.1, head[1] - 0.05, 0.035)
