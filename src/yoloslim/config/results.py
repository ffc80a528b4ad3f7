"""Sections of what is measured, shown and tracked, and the file that holds what a sweep found."""

from typing import Any

from pydantic import Field, JsonValue

from yoloslim.config.base import Section
from yoloslim.config.sweep import Constraints, Objective, Status


class EvaluationParams(Section):
    """How detections are counted, in every stage alike."""

    conf_thres: float = Field(0.001, ge=0, lt=1)
    iou_thres: float = Field(0.6, gt=0, lt=1)
    max_det: int = Field(300, ge=1)
    multi_label: bool = Field(True, description="every class of a cell counts, not its best alone")
    batch: int = Field(32, ge=1)
    rect: bool = Field(False, description="least padding instead of squares; PyTorch only")
    threads: int = Field(2, ge=1, le=512, description="CPU threads that latency is measured with")


class ReportParams(Section):
    """Tables and pictures."""

    images: int = Field(4, ge=1, le=64)
    conf_thres: float = Field(0.4, ge=0, lt=1)
    feature_maps: bool = False


class TrackingParams(Section):
    """MLflow."""

    enabled: bool = True
    live: bool = True
    uri: str = "sqlite:///mlflow.db"
    experiment: str = Field("yoloslim", min_length=1)


class SweepPoint(Section):
    """One point of metrics/sweep.json.

    Attributes:
        name: unique in the sweep: the percent, and the variant in front of it where there is one (`v1/50`).
        percent: share of prunable channels asked to go, %.
        overrides: params.yaml's keys that differ from the checkout's (`prune.scope` -> `free`); empty for none.
        status: how far it came.
        why: why it was tried.
        before: metrics of the cut model in PyTorch, before it was finetuned.
        after: metrics of the finetuned model in PyTorch.
        deployed: metrics on the runtime that the backend in them names.
        missed: constraints that it does not satisfy, one phrase each.
        error: what broke it off; empty if nothing did.
    """

    name: str
    percent: int
    overrides: dict[str, JsonValue] = Field(default_factory=dict)
    status: Status
    why: str
    before: dict[str, Any] = Field(default_factory=dict)
    after: dict[str, Any] = Field(default_factory=dict)
    deployed: dict[str, Any] = Field(default_factory=dict)
    missed: tuple[str, ...] = ()
    error: str = ""


class SweepResult(Section):
    """metrics/sweep.json: what a sweep tried and what it found.

    Attributes:
        name: of the sweep, for people.
        key: hash of what it was asked and of what came out; the same for the same.
        objective: what was wanted.
        constraints: what had to hold.
        axes: key of params.yaml -> values tried; `percent` -> [low, high, step].
        baseline: metrics on the runtime of the dense model that points are held against: the baseline, or the control
            where it finds more; its key `model` names which.
        sparse: metrics of the sparse model in PyTorch, where every cut starts.
        cliff: last percent before mAP falls off before finetuning; 0: before the first point; None: no cliff.
        points: everything tried, by variant and percent.
        front: names of points that no other beats in both map50 and cost.
        winner: name of the best point; None if no point satisfies the constraints.
        why: one or two sentences on why it won, or on which point is closest and what it misses.
        closest: name of the point that misses least, where there is no winner.
        added: percents that the sweep wrote into params.yaml, besides those that were listed there.
        probes: points cut and measured.
        finetunings: points finetuned.
        grid_finetunings: what the exhaustive search in steps of 1 % would have finetuned.
        seconds: from start to end, of the run that got here.
    """

    name: str
    key: str = ""
    objective: Objective
    constraints: Constraints
    axes: dict[str, tuple[JsonValue, ...]]
    baseline: dict[str, Any]
    sparse: dict[str, Any]
    cliff: int | None
    points: tuple[SweepPoint, ...]
    front: tuple[str, ...]
    winner: str | None
    why: str
    closest: str | None = None
    added: tuple[int, ...] = ()
    probes: int
    finetunings: int
    grid_finetunings: int
    seconds: float
