"""The typed schema of params.yaml: one frozen class a section, with units, ranges and defaults.

Unknown keys and values out of range are errors that say where, what, and what would do.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from yoloslim.errors import ConfigError
from yoloslim.explain import explain

Unit = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[int, Field(ge=0, le=99, description="share of prunable channels to remove, %")]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Optimizer = Literal["SGD", "Adam", "AdamW"]


class Section(BaseModel):
    """Base of all sections: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataParams(Section):
    """Where images and boxes come from."""

    source: Literal["scenes", "voc2007", "voc"] = "scenes"
    path: str = Field("", description="source voc: folder or tar in VOC layout")
    imgsz: int = Field(160, ge=32, le=4096, description="source scenes: side of the drawn images, px")
    train_images: int = Field(1000, ge=1, le=1_000_000)
    val_images: int = Field(100, ge=1, le=1_000_000)
    test_images: int = Field(300, ge=1, le=1_000_000)
    train_set: str = Field("", description="image set to train on; empty: split by shares")
    val_set: str = ""
    test_set: str = ""
    val_share: float = Field(0.1, ge=0, lt=1, description="share of images, when no image sets are named")
    test_share: float = Field(0.2, ge=0, lt=1, description="share of images, when no image sets are named")
    min_box_px: float = Field(1.0, ge=0, description="boxes with a side shorter than this are dropped, px")
    mirrors: tuple[str, ...] = (
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
        "https://pjreddie.com/media/files/",
    )
    download_dir: str = "downloads"
    workers: int = Field(0, ge=0, le=256, description="processes; 0 means one a core")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _source_is_complete(self) -> "DataParams":
        if self.source == "voc" and not self.path:
            raise ValueError("data.source is voc, so data.path must name a folder or tar in VOC layout")
        if self.val_share + self.test_share >= 1:
            raise ValueError(f"val_share {self.val_share} + test_share {self.test_share} leave nothing to train on")
        return self


class TrainParams(Section):
    """What all three trainings share."""

    batch: int = Field(32, ge=1, le=4096, description="images a step")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on convolution weights only")
    schedule: Literal["linear", "cosine"] = "cosine"
    precision: Precision = "auto"
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda)$")
    threads: int = Field(0, ge=0, le=512, description="CPU threads; 0 leaves torch's choice")
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    ema_tau: float = Field(200, gt=0, description="updates after which the decay has risen to 63 %")
    box_gain: float = Field(0.05, ge=0)
    obj_gain: float = Field(4.0, ge=0)
    cls_gain: float = Field(1.5, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    anchor_t: float = Field(4.0, gt=1, description="largest ratio between a box side and its anchor's")
    auto_anchor: bool = True
    mosaic: Unit = 0.0
    close_mosaic: int = Field(0, ge=0, description="last epochs without mosaic and mixup")
    mixup: Unit = 0.0
    scale: float = Field(0.3, ge=0, lt=1, description="zoom by 1 - scale to 1 + scale")
    translate: float = Field(0.1, ge=0, le=0.5, description="shift by this share of the image")
    degrees: float = Field(0.0, ge=0, le=180)
    shear: float = Field(0.0, ge=0, lt=45, description="degrees")
    hsv_h: Unit = 0.015
    hsv_s: Unit = 0.4
    hsv_v: Unit = 0.3
    flip: Unit = 0.5
    val_every: int = Field(2, ge=1, description="epochs between validations; the last is always validated")
    patience: int = Field(0, ge=0, description="stop after so many epochs without a better val mAP; 0 never")
    cache_dir: str = Field(".cache", description="decoded images, and what unfinished trainings resume from")


class PhaseParams(Section):
    """Length, optimizer and learning rate of one training."""

    optimizer: Optimizer = "AdamW"
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum; beta1 of Adam and AdamW")
    epochs: int = Field(ge=1, le=10_000)
    lr0: float = Field(gt=0, le=10)
    lrf: float = Field(gt=0, le=1, description="last learning rate as a share of lr0")
    warmup_epochs: float = Field(ge=0)


class BaselineParams(PhaseParams):
    """Training from scratch, or from `weights`."""

    epochs: int = Field(18, ge=1, le=10_000)
    lr0: float = Field(0.004, gt=0, le=10)
    lrf: float = Field(0.01, gt=0, le=1)
    warmup_epochs: float = Field(0.5, ge=0)
    weights: str = Field("", description="model file to start from; empty starts from scratch")


class SparseParams(PhaseParams):
    """Training under the sparsity penalty (Network Slimming, arXiv 1708.06519)."""

    optimizer: Optimizer = "SGD"
    momentum: float = Field(0.937, ge=0, lt=1, description="SGD momentum; beta1 of Adam and AdamW")
    epochs: int = Field(14, ge=1, le=10_000)
    lr0: float = Field(0.02, gt=0, le=10)
    lrf: float = Field(0.05, gt=0, le=1)
    warmup_epochs: float = Field(0.5, ge=0)
    rate: float = Field(0.02, ge=0, le=100, description="lambda of the penalty")
    mode: Literal["subgradient", "proximal"] = "proximal"
    beta_factor: float = Field(0.0, ge=0, description="penalty on beta as a multiple of rate; the source has 10")
    recalibrate_images: int = Field(200, ge=0, description="to re-estimate BatchNorm statistics on; 0 leaves them")
    max_collapse: float = Field(0.7, gt=0, le=1, description="stop when val map50 stays down by this share")


class PruneParams(Section):
    """Which channels go."""

    scope: Literal["source", "slim", "free", "coupled"] = "coupled"
    importance: Literal["gamma", "l1", "l2", "taylor", "random"] = "gamma"
    group_score: Literal["mean", "max", "sum"] = "mean"
    min_channels: int = Field(1, ge=1, description="channels each layer keeps at least")
    layer_keep: Unit = 0.0
    round_to: int = Field(8, ge=1, le=256, description="kept channels are a multiple of this")
    cost_power: float = Field(0.0, ge=0, le=4, description="score is divided by the channel's FLOPs to this power")
    target_params_m: float | None = Field(None, gt=0)
    target_gflops: float | None = Field(None, gt=0)
    target_latency_ms: float | None = Field(None, gt=0)
    latency_runtime: Literal["onnxruntime", "pytorch"] = "onnxruntime"
    residual_units: int = Field(0, ge=0)
    fold: bool = True
    recalibrate_images: int = Field(200, ge=0)
    certificate_images: int = Field(8, ge=1)
    tolerance: float = Field(1e-4, gt=0)


class FinetuneParams(PhaseParams):
    """Training of a pruned model."""

    epochs: int = Field(5, ge=1, le=10_000)
    lr0: float = Field(0.002, gt=0, le=10)
    lrf: float = Field(0.05, gt=0, le=1)
    warmup_epochs: float = Field(0.5, ge=0)


class EvaluationParams(Section):
    """How detections are counted, in every stage alike."""

    conf_thres: float = Field(0.001, ge=0, lt=1)
    iou_thres: float = Field(0.6, gt=0, lt=1)
    max_det: int = Field(300, ge=1)
    batch: int = Field(32, ge=1)
    threads: int = Field(2, ge=1, le=512, description="CPU threads that latency is measured with")


class ExportParams(Section):
    """ONNX export."""

    opset: int = Field(11, ge=11, le=18)


class AscendParams(Section):
    """What both Ascend stages share."""

    require: bool = False
    aipp_input: Literal["nv12", "rgb"] = "nv12"


class AtcParams(Section):
    """Compilation with Ascend's ATC."""

    soc_version: str = Field("Ascend310", pattern=r"^Ascend[0-9A-Za-z_]+$")
    precision_mode: Literal[
        "force_fp16", "allow_fp32_to_fp16", "allow_mix_precision", "must_keep_origin_dtype", "force_fp32"
    ] = "force_fp16"
    enable_small_channel: bool = True
    timeout_s: int = Field(3600, ge=1)


class AscendEvalParams(Section):
    """Evaluation on the device, or on its CPU stand-in."""

    warmup: int = Field(5, ge=0)
    repeats: int = Field(100, ge=1)


class ReportParams(Section):
    """Tables and pictures."""

    images: int = Field(4, ge=1, le=64)
    conf_thres: float = Field(0.4, ge=0, lt=1)


class TrackingParams(Section):
    """MLflow."""

    enabled: bool = True
    uri: str = "sqlite:///mlflow.db"
    experiment: str = Field("yoloslim", min_length=1)


class Params(Section):
    """All of params.yaml."""

    seed: int = Field(0, ge=0)
    model: str = "yolov5n"
    imgsz: int = Field(160, ge=32, le=4096, description="side of the network's input, px")
    percents: tuple[Percent, ...] = (30, 50, 70)
    data: DataParams = DataParams()
    train: TrainParams = TrainParams()
    baseline: BaselineParams = BaselineParams()
    sparse: SparseParams = SparseParams()
    prune: PruneParams = PruneParams()
    finetune: FinetuneParams = FinetuneParams()
    evaluation: EvaluationParams = EvaluationParams()
    export: ExportParams = ExportParams()
    ascend: AscendParams = AscendParams()
    atc: AtcParams = AtcParams()
    ascend_eval: AscendEvalParams = AscendEvalParams()
    report: ReportParams = ReportParams()
    tracking: TrackingParams = TrackingParams()

    @field_validator("imgsz")
    @classmethod
    def _imgsz_fits_strides(cls, value: int) -> int:
        if value % 32:
            raise ValueError(f"must be a multiple of 32; nearest are {value // 32 * 32} and {value // 32 * 32 + 32}")
        return value

    @field_validator("percents")
    @classmethod
    def _percents_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"lists a percent twice: {list(value)}")
        return value


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        ConfigError: missing file, malformed YAML, unknown key (with its nearest match), value out of range.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run from the project's folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
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
