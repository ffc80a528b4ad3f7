"""Section `sweep`: which pruning points may be tried, and what is wanted of the best."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from yoloslim.config.base import Section, Unit

Objective = Literal["fastest", "smallest", "accurate"]
"""What is wanted of the models that the constraints allow: least latency, fewest parameters, highest mAP50."""
Status = Literal["probed", "finetuned", "failed", "pruned"]
"""How far a point came: cut and measured, finetuned too, broke off, or dropped as hopeless before it was finetuned."""
Runner = Literal["threads", "dask", "ray"]
"""Where points run: here, or on the workers of a scheduler."""
Bound = Annotated[float | None, Field(gt=0)]


class Constraints(Section):
    """What a model must satisfy to be chosen; None asks nothing."""

    max_map_drop: Unit | None = Field(0.03, description="map50 that may be lost against the better dense model")
    max_params_m: Bound = None
    max_latency_ms: Bound = None
    min_fps: Bound = None
    max_size_mb: Bound = None


class SweepParams(Constraints):
    """Which points may be tried, and what is wanted of the best."""

    objective: Objective = "smallest"
    low: int = Field(10, ge=1, le=99, description="smallest percent to try")
    high: int = Field(95, ge=1, le=99, description="largest percent to try")
    step: int = Field(1, ge=1, le=50, description="percents that may be finetuned are so far apart")
    coarse: int = Field(20, ge=1, le=50, description="step of the first, cheap round")
    axes: dict[str, tuple[JsonValue, ...]] = Field({}, description="other keys of params.yaml and their values")
    sampler: Literal["grid", "optuna"] = Field("grid", description="grid searches percents for every combination")
    trials: int = Field(20, ge=1, le=10_000, description="optuna: points to try")
    workers: int = Field(
        0, ge=0, le=256, description="points at a time; 0 is one a GPU, or one a core as memory allows, 8 at most"
    )
    runner: Runner = "threads"
    address: str = Field("", description="dask, ray: of a scheduler that is running; empty starts workers here")
    fallback: bool = Field(False, description="dask, ray: go on in threads here where the runner cannot run points")
    retries: int = Field(2, ge=0, le=10, description="how often a point is tried again where the cause may pass")

    @model_validator(mode="after")
    def _range_holds_a_point(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}, so that there is no percent to try")
        return self

    @property
    def percents(self) -> tuple[int, ...]:
        """Those that may be finetuned."""
        return tuple(range(self.low, self.high + 1, self.step))

    @property
    def constraints(self) -> Constraints:
        """The bounds alone."""
        return Constraints(**self.model_dump(include=set(Constraints.model_fields)))
