"""NV12, the decoder's picture format, and the documented arithmetic by which AIPP turns it into network input."""

from __future__ import annotations

import numpy as np

JPEG_MATRIX = ((256, 0, 359), (256, -88, -183), (256, 454, 0))
JPEG_BIAS = (0, 128, 128)
RECIPROCAL = 0.0039216
"""1/255; in float16, which AIPP computes in, the two are the same number."""

_TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
"""JFIF 1.02, section 7: full-range YCbCr, which JPEG files hold."""


def to_nv12(images: np.ndarray) -> np.ndarray:
    """RGB images (B, H, W, 3), sides even, as NV12 (B, H * 3 / 2, W): luma rows, then rows of U, V pairs.

    A chroma pair is the mean of its 2 x 2 block.
    """
    batch, height, width, _ = images.shape
    yuv = images.astype(np.float32) @ _TO_YUV.T
    blocks = yuv[..., 1:].reshape(batch, height // 2, 2, width // 2, 2, 2)
    chroma = _round(blocks.mean(axis=(2, 4)) + 128).reshape(batch, height // 2, width)
    return np.concatenate([_round(yuv[..., 0]), chroma], axis=1)


def from_nv12(images: np.ndarray) -> np.ndarray:
    """NV12 (B, H * 3 / 2, W) to RGB (B, H, W, 3) as AIPP does: integer matrix, arithmetic shift by 8, clamp to 0-255.

    Huawei documents neither how chroma is spread over its block (the nearest here) nor the clamp.
    """
    batch, rows, width = images.shape
    height = rows * 2 // 3
    chroma = images[:, height:].reshape(batch, height // 2, width // 2, 2).astype(np.int32)
    wide = chroma.repeat(2, axis=1).repeat(2, axis=2)
    planes = (images[:, :height].astype(np.int32), wide[..., 0], wide[..., 1])
    y, u, v = (plane - bias for plane, bias in zip(planes, JPEG_BIAS))
    rgb = [(a * y + b * u + c * v) >> 8 for a, b, c in JPEG_MATRIX]
    pixels: np.ndarray = np.clip(np.stack(rgb, axis=-1), 0, 255).astype(np.uint8)
    return pixels


def scale(images: np.ndarray) -> np.ndarray:
    """RGB (B, H, W, 3) to float32 (B, 3, H, W) in [0, 1], multiplied in float16 as AIPP does.

    There are only 256 inputs, so their products are looked up.
    """
    products = (np.arange(256).astype(np.float16) * np.float16(RECIPROCAL)).astype(np.float32)
    scaled: np.ndarray = products[np.ascontiguousarray(images.transpose(0, 3, 1, 2))]
    return scaled


def _round(values: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
