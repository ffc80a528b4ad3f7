"""What a camera does to a scene: light and colour cast, vignette, blur, sensor noise and JPEG."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from yoloslim.data.scenes.canvas import chance, uniform
from yoloslim.data.scenes.difficulty import Difficulty


def photograph(rng: Generator, scene: NDArray[np.float32], hard: Difficulty) -> NDArray[np.uint8]:
    """Turn a scene (size, size, 3), 0..255, into the picture a mediocre camera takes of it."""
    size = len(scene)
    gain = rng.uniform(0.88, 1.12, 3) * uniform(rng, hard.contrast, 1.08)
    lift = uniform(rng, 0, 255 * (1 - hard.contrast) * 0.5)
    picture = scene * gain.astype(np.float32) + np.float32(lift)
    if chance(rng, 0.5):
        picture *= _vignette(rng, size)
    sigma = uniform(rng, 0, hard.blur) * size / 512
    if sigma > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    picture += _grain(rng, size, uniform(rng, 1, hard.noise))
    taken = np.clip(picture, 0, 255).astype(np.uint8)
    quality = int(rng.integers(hard.worst_quality, 96))
    data = cv2.imencode(".jpg", taken, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _vignette(rng: Generator, size: int) -> NDArray[np.float32]:
    x0, y0 = rng.uniform(0.2, 0.8, 2)
    axis = np.linspace(0, 1, size, dtype=np.float32)
    distance = (axis[None, :] - np.float32(x0)) ** 2 + (axis[:, None] - np.float32(y0)) ** 2
    return 1 - np.float32(uniform(rng, 0.1, 0.5)) * distance[..., None]


def _grain(rng: Generator, size: int, sigma: float) -> NDArray[np.float32]:
    # One patch, repeated at an offset of its own: noise is the dearest part of a picture, and nobody sees the seam.
    side = 160
    patch = rng.standard_normal((side, side, 3), np.float32) * np.float32(sigma)
    times = -(-size // side) + 1
    y, x = (int(v) for v in rng.integers(0, side, 2))
    return np.tile(patch, (times, times, 1))[y : y + size, x : x + size]
