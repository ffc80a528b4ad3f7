"""Words to choose from; apart, since the command line shows some of them and imports nothing else."""

from typing import Literal

Outputs = Literal["raw", "decoded", "nms"]
"""What a graph gives: logits by level; boxes and scores; or detections."""
Precision = Literal["fp32", "bf16"]
"""What a runtime computes in, where the file leaves the choice."""
AippInput = Literal["nv12", "rgb"]
"""What the device is fed: decoder output (YUV 4:2:0, JPEG colours) or packed RGB."""
Activation = Literal["silu", "leaky", "mish", "relu", "hardswish", "sigmoid", "relu6", "linear"]
"""What stands behind a convolution."""
PrecisionMode = Literal[
    "force_fp16", "allow_fp32_to_fp16", "allow_mix_precision", "must_keep_origin_dtype", "force_fp32"
]
"""Arithmetic that ATC can be told to choose."""
