"""Section `prune`: which channels go."""

from typing import Any, Literal

from pydantic import Field

from yoloslim.choices import LatencyRuntime
from yoloslim.config.base import Section
from yoloslim.prune_request import GroupScore, Importance, Scope, option


def _shared(name: str) -> Any:
    """A key that `PruneRequest` states: default, limits and explanation."""
    stated = option(name)
    return Field(stated.default, description=stated.help, **stated.limits)


class PruneParams(Section):
    """Which channels go."""

    scope: Scope = _shared("scope")
    importance: Importance = _shared("importance")
    group_score: GroupScore = _shared("group_score")
    min_channels: int = _shared("min_channels")
    layer_keep: float = _shared("layer_keep")
    round_to: int = _shared("round_to")
    cost_power: float = _shared("cost_power")
    cost: Literal["macs", "latency"] = "macs"
    target_params_m: float | None = _shared("target_params_m")
    target_gflops: float | None = _shared("target_gflops")
    target_latency_ms: float | None = _shared("target_latency_ms")
    target_speedup: float | None = _shared("target_speedup")
    latency_runtime: LatencyRuntime = "onnxruntime"
    residual_units: int = _shared("residual_units")
    fold: bool = _shared("fold")
    recalibrate_images: int = Field(200, ge=0)
    certificate_images: int = Field(8, ge=1)
    tolerance: float = Field(1e-4, gt=0)


class UnstructuredParams(Section):
    """Zeroing single weights, for comparison."""

    percent: int = Field(30, ge=0, le=99, description="share of each convolution's weights, the smallest, %")
