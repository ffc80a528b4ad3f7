"""Section `prune`: which channels go."""

from typing import Any, Literal

from pydantic import Field, model_validator

from yoloslim.choices import LatencyPlace
from yoloslim.config.base import Section
from yoloslim.errors import PruneError
from yoloslim.prune_request import (
    TARGETS,
    ChannelSelection,
    GroupScore,
    Importance,
    Normalise,
    Scope,
    check_by_budget,
    option,
)


def _shared(name: str, **changed: Any) -> Any:
    """A key that `PruneRequest` states: default (unless changed), limits and explanation."""
    stated = option(name)
    return Field(**{"default": stated.default, "description": stated.help, **stated.limits, **changed})


class PruneParams(Section):
    """Which channels go."""

    scope: Scope = _shared("scope")
    importance: Literal[Importance, "auto"] = _shared("importance", default="auto")
    trial_steps: int = Field(
        80, ge=1, le=10_000, description="of each ranking's trial at least, in whole epochs; for importance auto"
    )
    normalise: Normalise = _shared("normalise")
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
    latency_runtime: LatencyPlace = "onnxruntime"
    selection: ChannelSelection = "percent"
    latency_table: str = ""
    residual_units: int = _shared("residual_units")
    rounds: int = Field(1, ge=1, le=100, description="cuts, with some training between them; 1 cuts at once")
    round_epochs: int = Field(2, ge=1, le=10_000, description="epochs between two rounds, taken off finetune.epochs")
    fold: bool = _shared("fold")
    recalibrate_images: int = Field(200, ge=0)
    fit_images: int = Field(0, ge=0, description="to fit all layers on to what they gave; 0 fits none")
    certificate_images: int = Field(8, ge=1)
    tolerance: float = Field(1e-4, gt=0)

    @model_validator(mode="after")
    def _one_target(self) -> "PruneParams":
        if len(self.targets) > 1:
            raise ValueError(f"{' and '.join(self.targets)} are set at once; keep one of them")
        return self

    @property
    def targets(self) -> list[str]:
        """Names of the targets that are set."""
        return [name for name in TARGETS if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _rounds_go_by_size(self) -> "PruneParams":
        timed = [name for name in ("target_latency_ms", "target_speedup") if getattr(self, name) is not None]
        timed += ["selection latency"] if self.selection == "latency" else []
        if self.rounds > 1 and timed:
            raise ValueError(
                f"rounds={self.rounds} goes by channels, parameters or FLOPs, and {timed[0]} asks for time: set rounds "
                "to 1, or give percents, target_params_m or target_gflops"
            )
        return self

    @model_validator(mode="after")
    def _fit_makes_up_for_one_cut(self) -> "PruneParams":
        if self.fit_images and self.rounds > 1:
            raise ValueError(
                f"fit_images={self.fit_images} makes up for one cut without training, and rounds={self.rounds} trains "
                "between cuts: set one of them to its default (fit_images 0, rounds 1)"
            )
        return self

    @model_validator(mode="after")
    def _selection_has_a_use_for_all(self) -> "PruneParams":
        if self.latency_runtime == "ascend" and (self.selection == "latency" or self.cost == "latency"):
            raise ValueError(
                "latency_runtime ascend is for target_latency_ms and target_speedup: layers one by one are timed on "
                "this machine's runtimes alone (selection latency, cost latency)"
            )
        try:
            check_by_budget(self.selection, dict(self))
        except PruneError as error:
            raise ValueError(f"selection {self.selection}: {error}") from error
        if self.latency_table and self.selection != "latency":
            raise ValueError(f"latency_table {self.latency_table} is for selection latency: set that, or leave it out")
        return self


class UnstructuredParams(Section):
    """Zeroing single weights, for comparison."""

    percent: int = Field(30, ge=0, le=99, description="share of each convolution's weights, the smallest, %")
