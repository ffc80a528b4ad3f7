"""What a camera does to a scene: light and colour cast, vignette, blur, sensor noise and JPEG."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from yoloslim.data.scenes.canvas import chance, uniform
from yoloslim.data.scenes.difficulty import Difficulty

NOISE_TILE = 160
"""Side of the patch of sensor noise that is repeated, at an offset of its own, in pixels."""


def photograph(rng: Generator, scene: NDArray[np.uint8], hard: Difficulty) -> NDArray[np.uint8]:
    """Turn a scene (size, size, 3) into the picture a mediocre camera takes of it."""
    size = len(scene)
    picture = cv2.LUT(scene, _exposure(rng, hard.contrast))
    if chance(rng, 0.5):
        picture = cv2.multiply(picture, _vignette(rng, size), scale=1 / 255)
    sigma = uniform(rng, 0, hard.blur) * size / 512
    if sigma > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    picture = cv2.add(picture, _grain(rng, size, uniform(rng, 0, hard.noise)), dtype=cv2.CV_8U)
    quality = int(rng.integers(hard.worst_quality, 96))
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _exposure(rng: Generator, contrast: float) -> NDArray[np.uint8]:
    """Table (1, 256, 3) from scene to sensor: gain by channel, lifted blacks, gamma."""
    gain = rng.uniform(0.88, 1.12, 3) * uniform(rng, contrast, 1.05)
    lift = uniform(rng, 0, (1 - contrast) / 2)
    grey = np.linspace(0, 1, 256)[None, :, None] ** uniform(rng, 0.8, 1.25)
    table: NDArray[np.uint8] = np.clip((grey * gain + lift) * 255, 0, 255).astype(np.uint8)
    return table


def _vignette(rng: Generator, size: int) -> NDArray[np.uint8]:
    x0, y0 = rng.uniform(0.2, 0.8, 2)
    axis = np.linspace(0, 1, 64, dtype=np.float32)
    distance = (axis[None, :] - np.float32(x0)) ** 2 + (axis[:, None] - np.float32(y0)) ** 2
    dim = (255 * (1 - np.float32(uniform(rng, 0.1, 0.5)) * distance)).astype(np.uint8)
    wide = cv2.resize(dim, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.repeat(np.asarray(wide, np.uint8)[..., None], 3, 2)


def _grain(rng: Generator, size: int, sigma: float) -> NDArray[np.int16]:
    # Normal numbers are the dearest part of a picture, and nobody sees the seams.
    patch = rng.standard_normal((NOISE_TILE, NOISE_TILE, 3), np.float32) * np.float32(sigma)
    times = -(-size // NOISE_TILE) + 1
    y, x = (int(v) for v in rng.integers(0, NOISE_TILE, 2))
    tiles = np.tile(np.rint(patch).astype(np.int16), (times, times, 1))
    return np.ascontiguousarray(tiles[y : y + size, x : x + size])
