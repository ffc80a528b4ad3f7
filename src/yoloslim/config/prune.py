"""Section `prune`: which channels go."""

from typing import Literal

from pydantic import Field

from yoloslim.config.base import Section, Unit


class PruneParams(Section):
    """Which channels go."""

    scope: Literal["source", "slim", "free", "coupled"] = "coupled"
    importance: Literal["gamma", "l1", "l2", "taylor", "random"] = "gamma"
    group_score: Literal["mean", "max", "sum"] = "mean"
    min_channels: int = Field(1, ge=1, description="channels each layer keeps at least")
    layer_keep: Unit = 0.0
    round_to: int = Field(8, ge=1, le=256, description="kept channels are a multiple of this")
    cost_power: float = Field(0.0, ge=0, le=4, description="score is divided by the channel's cost to this power")
    cost: Literal["macs", "latency"] = "macs"
    target_params_m: float | None = Field(None, gt=0)
    target_gflops: float | None = Field(None, gt=0)
    target_latency_ms: float | None = Field(None, gt=0)
    latency_runtime: Literal["onnxruntime", "pytorch"] = "onnxruntime"
    residual_units: int = Field(0, ge=0)
    fold: bool = True
    recalibrate_images: int = Field(200, ge=0)
    certificate_images: int = Field(8, ge=1)
    tolerance: float = Field(1e-4, gt=0)


class UnstructuredParams(Section):
    """Zeroing single weights, for comparison."""

    percent: int = Field(30, ge=0, le=99, description="share of each convolution's weights, the smallest, %")
