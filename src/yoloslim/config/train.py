"""Section `train`, shared by all trainings, and one section for each of them."""

from typing import Literal

from pydantic import Field, model_validator

from yoloslim.config.base import Section, Side, Unit

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Optimizer = Literal["SGD", "Adam", "AdamW"]


class TrainParams(Section):
    """What all trainings share."""

    batch: int = Field(32, ge=0, le=4096, description="images a step, over all devices; 0 chooses")
    nominal_batch: int = Field(0, ge=0, le=65536, description="images an update, of several batches; 0 is one batch")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on convolution weights only")
    schedule: Literal["linear", "cosine"] = "cosine"
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(1, ge=1, le=64, description="processes, one a GPU; torchrun overrides it")
    sync_bn: bool = Field(False, description="BatchNorm over the whole batch of several devices")
    share: int = Field(8, ge=0, le=4096, description="images a CPU thread computes at once; 0: all threads share all")
    threads: int = Field(0, ge=0, le=512, description="CPU threads; 0 is one a core that may be used")
    workers: int = Field(0, ge=0, le=512, description="threads that make batches ahead; 0 takes them for a GPU alone")
    memory_gb: float = Field(
        0.0, ge=0, description="for decoded images, in RAM or on the GPU; 0 is half of what is free"
    )
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    ema_tau: float = Field(200, gt=0, description="updates after which the decay has risen to 63 %")
    box_gain: float | None = Field(None, ge=0, description="weight of the box loss; null is the head's own")
    obj_gain: float = Field(4.0, ge=0)
    cls_gain: float | None = Field(None, ge=0, description="weight of the class loss; null is the head's own")
    dfl_gain: float | None = Field(None, ge=0, description="weight of the distances, without anchors; null is 1.5")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    anchor_t: float = Field(4.0, gt=1, description="largest ratio between a box side and its anchor's")
    auto_anchor: bool = True
    freeze: int = Field(0, ge=0, description="first layers that keep their weights and statistics")
    image_weights: bool = Field(False, description="draw images with rare classes more often")
    multi_scale: float = Field(
        0.0, ge=0, le=0.5, description="image side varies by this share, in multiples of the stride"
    )
    resolutions: tuple[Side, ...] = Field((), description="image sides of equal shares of the epochs; empty is imgsz")
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
    patience: int = Field(0, ge=0, description="epochs without a better val mAP50-95; 0 never; not for sparse")
    cache_dir: str = Field(".cache", description="decoded images, and what unfinished trainings resume from")

    @property
    def same_with_any_threads(self) -> bool:
        """Whether any number of CPU threads gives the same weights: several processes compute whole batches."""
        return self.share > 0 and self.devices == 1


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

    epochs: int = Field(18, ge=0, le=10_000, description="0 takes `weights` as they are")
    lr0: float = Field(0.004, gt=0, le=10)
    lrf: float = Field(0.01, gt=0, le=1)
    warmup_epochs: float = Field(0.5, ge=0)
    weights: str = Field("", description="file or address#sha256=... to start from; empty starts from scratch")

    @model_validator(mode="after")
    def _random_weights_are_trained(self) -> "BaselineParams":
        if not self.epochs and not self.weights:
            raise ValueError("epochs=0 takes weights as they are, and there are none: name a file in weights, or train")
        return self


class SparseParams(PhaseParams):
    """Training under a penalty that makes channels dispensable."""

    penalty: Literal["slimming", "group", "growing", "none"] = Field(
        "none", description="none trains nothing: the baseline is cut"
    )
    optimizer: Optimizer = "SGD"
    momentum: float = Field(0.937, ge=0, lt=1, description="SGD momentum; beta1 of Adam and AdamW")
    epochs: int = Field(14, ge=1, le=10_000)
    lr0: float = Field(0.02, gt=0, le=10)
    lrf: float = Field(0.05, gt=0, le=1)
    warmup_epochs: float = Field(0.5, ge=0)
    rate: float = Field(0.02, ge=0, le=100, description="lambda of the penalty")
    mode: Literal["subgradient", "proximal"] = "proximal"
    beta_factor: float = Field(0.0, ge=0, description="slimming: penalty on beta, times the rate; the source has 10")
    percent: float = Field(50, gt=0, lt=100, description="growing: share of the channels that it makes dispensable")
    recalibrate_images: int = Field(200, ge=0, description="to re-estimate BatchNorm statistics on; 0 leaves them")
    max_collapse: float = Field(0.7, gt=0, le=1, description="stop when val map50 stays down by this share")

    @model_validator(mode="after")
    def _shifts_are_slimming_s(self) -> "SparseParams":
        if self.beta_factor > 0 and self.penalty in ("group", "growing"):
            given = f"beta_factor={self.beta_factor:g}"
            raise ValueError(f"{given} is for penalty slimming; {self.penalty} needs it to be 0")
        return self


TEACHER = "models/control/dense"
"""Who teaches where nothing is said: the dense model, trained for as long."""
NOBODY = "models/baseline"
"""What stands there where nobody teaches and no control is trained: every pipeline has it, and DVC waits for it."""


class FinetuneParams(PhaseParams):
    """Training of a pruned model."""

    epochs: int = Field(14, ge=1, le=10_000)
    lr0: float = Field(0.002, gt=0, le=10)
    lrf: float = Field(0.05, gt=0, le=1)
    warmup_epochs: float = Field(0.5, ge=0)
    repeats: int = Field(1, ge=1, le=100, description="trainings with seeds of their own, for mean and spread")
    quantize: bool = Field(False, description="the last epochs compute as int8 runtimes do")
    teacher: str = Field(TEACHER, min_length=1, description="a stage's folder below models/, or a file")
    distill_output: float = Field(0.5, ge=0, le=1000, description="weight of the teacher's detections")
    distill_feature: float = Field(0.0, ge=0, le=1000, description="weight of holding what the teacher's features hold")
    distill_temperature: float = Field(1.0, gt=0, le=100, description="divides the class logits of both")

    @property
    def is_taught(self) -> bool:
        """Whether a teacher takes part."""
        return bool(self.distill_output or self.distill_feature)

    @model_validator(mode="after")
    def _teacher_teaches(self) -> "FinetuneParams":
        if self.teacher not in (TEACHER, NOBODY) and not self.is_taught:
            raise ValueError(f"teacher {self.teacher} teaches nothing: set distill_output (0.5 say), or leave it out")
        return self
