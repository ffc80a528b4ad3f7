"""Words to choose from; apart, since the command line shows some of them and imports nothing else."""

from typing import Literal

Outputs = Literal["raw", "decoded", "nms", "end2end"]
"""What a graph gives: logits by level; boxes and scores; or detections, by NMS or of a head that needs none."""
Branch = Literal["one_to_many", "one_to_one"]
"""Of a head with two: the one that finds an object several times and needs NMS, and the one that finds it once."""
Precision = Literal["fp32", "bf16"]
"""What a runtime computes in, where the file leaves the choice."""
Weights = Literal["fp32", "fp16"]
"""What a file's weights are stored in, where its format has both."""
RknnPrecision = Literal["fp16", "int8", "hybrid"]
"""Arithmetic of a Rockchip NPU: hybrid is int8 but for the layers that lose most by it."""
RangesFrom = Literal["training", "calibration"]
"""What set the ranges of activations that int8 covers: quantised epochs of a training, or images after it."""
AippInput = Literal["nv12", "rgb"]
"""What the device is fed: decoder output (YUV 4:2:0, JPEG colours) or packed RGB."""
LatencyRuntime = Literal["onnxruntime", "openvino", "ncnn", "litert", "pytorch"]
"""What latencies of a model under way are measured on."""
LatencyPlace = Literal[LatencyRuntime, "ascend"]
"""What a latency to get down to is measured on: a runtime on this machine's CPU, or an Ascend device."""
Activation = Literal["silu", "leaky", "mish", "relu", "hardswish", "sigmoid", "relu6", "linear"]
"""What stands behind a convolution."""
PrecisionMode = Literal[
    "force_fp16", "allow_fp32_to_fp16", "allow_mix_precision", "must_keep_origin_dtype", "force_fp32"
]
"""Arithmetic that ATC can be told to choose."""
