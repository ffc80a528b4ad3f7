"""Sections of what is measured, shown and tracked."""

from pydantic import Field

from yoloslim.config.base import Section


class EvaluationParams(Section):
    """How detections are counted, in every stage alike."""

    conf_thres: float = Field(0.001, ge=0, lt=1)
    iou_thres: float = Field(0.6, gt=0, lt=1)
    max_det: int = Field(300, ge=1)
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
