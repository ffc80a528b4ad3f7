"""AIPP, the preprocessing unit of Ascend chips: its configuration, and a CPU twin of its arithmetic.

The twin follows the documented formulas. Two details are not documented, chroma upsampling (nearest here) and
clamping between the colour and the scaling step, so it is a documented-formula emulation, not a bit-exact one.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from yoloslim.deploy.manifest import Manifest
from yoloslim.errors import DeployError

AippInput = Literal["nv12", "rgb"]
"""What the device is fed: decoder output (YUV 4:2:0, JPEG colours) or packed RGB."""

_FORMATS = {"nv12": "YUV420SP_U8", "rgb": "RGB888_U8"}
_JPEG_MATRIX = ((256, 0, 359), (256, -88, -183), (256, 454, 0))
_JPEG_BIAS = (0, 128, 128)
_RECIPROCAL = 0.0039216
"""1/255; in float16, which AIPP computes in, the two are the same number."""

_TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
"""JFIF 1.02, section 7: full-range YCbCr, which JPEG files hold."""


def aipp_config(manifest: Manifest, source: AippInput = "nv12") -> str:
    """Text of the file that ATC takes as `--insert_op_conf`; all matrix values, since AIPP's defaults give BGR."""
    lines = [
        "aipp_mode: static",
        "related_input_rank: 0",
        f"input_format: {_FORMATS[source]}",
        f"src_image_size_w: {manifest.input_shape[3]}",
        f"src_image_size_h: {manifest.input_shape[2]}",
        "crop: false",
        f"csc_switch: {'true' if source == 'nv12' else 'false'}",
        "rbuv_swap_switch: false",
    ]
    if source == "nv12":
        cells = [(r, c, value) for r, row in enumerate(_JPEG_MATRIX) for c, value in enumerate(row)]
        lines += [f"matrix_r{r}c{c}: {value}" for r, c, value in cells]
        lines += [f"input_bias_{i}: {value}" for i, value in enumerate(_JPEG_BIAS)]
    lines += [f"var_reci_chn_{i}: {_RECIPROCAL}" for i in range(3)]
    return "aipp_op {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def aipp_twin(source: AippInput = "nv12") -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A preprocessor for `OnnxPredictor` that gives the network what AIPP would give it.

    It maps RGB images (B, S, S, 3), S even, to float32 (B, 3, S, S) whose values are float16 numbers. `nv12` goes
    through YUV 4:2:0 and back, as on the device; `rgb` only scales.
    """
    return _from_nv12 if source == "nv12" else _from_rgb


def to_nv12(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB images (B, H, W, 3) as luma (B, H, W) and chroma (B, H/2, W/2, 2), the mean of each 2 x 2 block.

    Raises:
        DeployError: odd height or width, which 4:2:0 cannot hold.
    """
    batch, height, width, _ = images.shape
    if height % 2 or width % 2:
        raise DeployError(f"NV12 needs even sides, not {width} x {height}; use an imgsz that is a multiple of 32")
    yuv = images.astype(np.float32) @ _TO_YUV.T
    luma = _round(yuv[..., 0])
    blocks = yuv[..., 1:].reshape(batch, height // 2, 2, width // 2, 2, 2)
    return luma, _round(blocks.mean(axis=(2, 4)) + 128)


def from_nv12(luma: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """AIPP's colour conversion to RGB (B, H, W, 3): integer matrix, arithmetic shift by 8, clamp to 0-255."""
    wide = chroma.repeat(2, axis=1).repeat(2, axis=2).astype(np.int32)
    planes = (luma.astype(np.int32), wide[..., 0], wide[..., 1])
    y, u, v = (plane - bias for plane, bias in zip(planes, _JPEG_BIAS, strict=True))
    rgb = [(a * y + b * u + c * v) >> 8 for a, b, c in _JPEG_MATRIX]
    return np.clip(np.stack(rgb, axis=-1), 0, 255).astype(np.uint8)


def _from_nv12(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _from_rgb(from_nv12(*to_nv12(images)))


def _from_rgb(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale in float16; there are only 256 inputs, so their products are looked up."""
    products = (np.arange(256).astype(np.float16) * np.float16(_RECIPROCAL)).astype(np.float32)
    return products[np.ascontiguousarray(images.transpose(0, 3, 1, 2))]


def _round(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
