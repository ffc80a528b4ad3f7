"""The typed schema of params.yaml: one frozen class a section, with units, ranges and defaults.

Unknown keys and values out of range are errors that say where, what, and what would do.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from yoloslim.config.base import Section, Side
from yoloslim.config.data import DataParams
from yoloslim.config.deploy import (
    AscendEvalParams,
    AscendParams,
    AtcParams,
    ExportParams,
    QuantizeParams,
    RknnEvalParams,
    RknnParams,
)
from yoloslim.config.prune import PruneParams, UnstructuredParams
from yoloslim.config.recipe import settle_recipes
from yoloslim.config.results import EvaluationParams, ReportParams, SweepPoint, SweepResult, TrackingParams
from yoloslim.config.schedule import ScheduleParams
from yoloslim.config.sweep import Constraints, Objective, SweepParams
from yoloslim.config.train import (
    NOBODY,
    TEACHER,
    BaselineParams,
    FinetuneParams,
    Optimizer,
    PhaseParams,
    SparseParams,
    TrainParams,
)
from yoloslim.documents import read_yaml
from yoloslim.errors import ConfigError
from yoloslim.explain import explain

__all__ = [
    "AscendEvalParams",
    "AscendParams",
    "AtcParams",
    "BaselineParams",
    "Constraints",
    "DataParams",
    "EvaluationParams",
    "ExportParams",
    "FinetuneParams",
    "Objective",
    "Optimizer",
    "Params",
    "PhaseParams",
    "PruneParams",
    "QuantizeParams",
    "ReportParams",
    "RknnEvalParams",
    "RknnParams",
    "ScheduleParams",
    "Section",
    "SparseParams",
    "SweepParams",
    "SweepPoint",
    "SweepResult",
    "TrackingParams",
    "TrainParams",
    "UnstructuredParams",
    "load_params",
    "parse_params",
]

Percent = Annotated[int, Field(ge=0, le=99, description="share of prunable channels to remove, %")]


class Params(Section):
    """All of params.yaml."""

    seed: int = Field(0, ge=0)
    model: str = "yolov5n"
    imgsz: Side = Field(160, description="side of the network's input, px")
    percents: tuple[Percent, ...] = (30, 50, 70)
    probes: tuple[Percent, ...] = ()
    controls: tuple[Literal["dense"], ...] = Field(("dense",), max_length=1)
    data: DataParams = DataParams()
    train: TrainParams = TrainParams()
    baseline: BaselineParams = BaselineParams()
    sparse: SparseParams = SparseParams()
    prune: PruneParams = PruneParams()
    finetune: FinetuneParams = FinetuneParams()
    unstructured: UnstructuredParams = UnstructuredParams()
    evaluation: EvaluationParams = EvaluationParams()
    export: ExportParams = ExportParams()
    quantize: QuantizeParams = QuantizeParams()
    rknn: RknnParams = RknnParams()
    rknn_eval: RknnEvalParams = RknnEvalParams()
    ascend: AscendParams = AscendParams()
    atc: AtcParams = AtcParams()
    ascend_eval: AscendEvalParams = AscendEvalParams()
    report: ReportParams = ReportParams()
    sweep: SweepParams = SweepParams()
    schedule: ScheduleParams = ScheduleParams()
    tracking: TrackingParams = TrackingParams()

    @model_validator(mode="before")
    @classmethod
    def _settle_recipes(cls, raw: Any) -> Any:
        return settle_recipes(raw) if isinstance(raw, dict) else raw

    @model_validator(mode="after")
    def _control_that_teaches_is_trained(self) -> "Params":
        folder, teacher = "models/control/", self.finetune.teacher
        if teacher.startswith(folder) and teacher.removeprefix(folder).strip("/") not in self.controls:
            raise ValueError(
                f"finetune.teacher is {teacher}, and controls {list(self.controls)} trains no such model: write "
                f"controls: [dense] and {TEACHER}, or finetune.teacher: {NOBODY} with finetune.distill_output: 0"
            )
        return self

    @model_validator(mode="after")
    def _rounds_leave_epochs(self) -> "Params":
        taken, epochs = self.round_epochs, self.finetune.epochs
        if taken >= epochs:
            raise ValueError(
                f"prune.rounds={self.prune.rounds} with prune.round_epochs={self.prune.round_epochs} takes {taken} of "
                f"finetune.epochs={epochs} and leaves none: lower them, or raise finetune.epochs above {taken}"
            )
        return self

    @model_validator(mode="after")
    def _processes_of_a_round_cut_alike(self) -> "Params":
        p, devices = self.prune, self.train.devices
        if p.rounds > 1 and devices > 1 and p.cost_power and p.cost == "latency":
            raise ValueError(
                f"prune.cost latency is measured by each of train.devices={devices} processes, which train together "
                f"between prune.rounds={p.rounds} and would cut otherwise: set prune.cost to macs, or one of these to 1"
            )
        return self

    @property
    def round_epochs(self) -> int:
        """Epochs that are trained between the rounds of pruning, and not in finetuning."""
        return (self.prune.rounds - 1) * self.prune.round_epochs

    @model_validator(mode="after")
    def _deployed_models_are_exported(self) -> "Params":
        for section, models in (("quantize", self.quantize.models), ("rknn", self.rknn.models)):
            lacking = [each for each in models if each != "baseline" and each not in self.percents]
            if lacking:
                raise ValueError(
                    f"{section}.models names {lacking[0]}, which is not among the percents {list(self.percents)}: add "
                    "it there, or take it out"
                )
        return self

    @field_validator("percents", "probes")
    @classmethod
    def _percents_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"lists a percent twice: {list(value)}")
        return value


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        ConfigError: missing file, malformed YAML or a bomb, a key twice, an unknown key (with its nearest match), a
            value out of range.
    """
    if not path.exists():
        raise ConfigError(f"cannot read {path}: No such file or directory; run from the project's folder")
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold sections such as `prune:`, not {type(raw).__name__}")
    return parse_params(raw, str(path))


def parse_params(raw: dict[str, Any], origin: str = "params") -> Params:
    """Check a nested dictionary against the schema.

    Raises:
        ConfigError: as `load_params`.
    """
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = "\n".join(f"  {explain(Params, problem)}" for problem in error.errors())
        raise ConfigError(f"{origin} does not hold up:\n{problems}") from error
