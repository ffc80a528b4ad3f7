"""AIPP, the preprocessing unit of Ascend chips: its configuration, and a CPU twin of its arithmetic.

The twin follows the documented formulas, which `runner.nv12` holds. Two details are not documented, chroma upsampling
(nearest here) and clamping between the colour and the scaling step, so it is a documented-formula emulation, not a
bit-exact one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from yoloslim.choices import AippInput
from yoloslim.deploy.manifest import Manifest
from yoloslim.errors import DeployError
from yoloslim.runner import nv12

_FORMATS = {"nv12": "YUV420SP_U8", "rgb": "RGB888_U8"}


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
        cells = [(r, c, value) for r, row in enumerate(nv12.JPEG_MATRIX) for c, value in enumerate(row)]
        lines += [f"matrix_r{r}c{c}: {value}" for r, c, value in cells]
        lines += [f"input_bias_{i}: {value}" for i, value in enumerate(nv12.JPEG_BIAS)]
    lines += [f"var_reci_chn_{i}: {nv12.RECIPROCAL}" for i in range(3)]
    return "aipp_op {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def aipp_twin(source: AippInput = "nv12") -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A preprocessor for predictors that gives the network what AIPP would give it.

    It maps RGB images (B, S, S, 3), S even, to float32 (B, 3, S, S) whose values are float16 numbers. `nv12` goes
    through YUV 4:2:0 and back, as on the device; `rgb` only scales.
    """
    return _from_nv12 if source == "nv12" else nv12.scale


def device_input(source: AippInput, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes that AIPP is fed for RGB images (B, H, W, 3): NV12 (B, H * 3 / 2, W), or the images themselves.

    Raises:
        DeployError: odd height or width, which 4:2:0 cannot hold.
    """
    if source == "rgb":
        return images
    _, height, width, _ = images.shape
    if height % 2 or width % 2:
        raise DeployError(f"NV12 needs even sides, not {width} x {height}; use an imgsz that is a multiple of 32")
    return nv12.to_nv12(images)


def _from_nv12(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return nv12.scale(nv12.from_nv12(device_input("nv12", images)))
