"""Stage `baseline`: train the dense model that all others are compared with."""

from pathlib import Path

import torch

from pipeline.common import BASELINE, split_of, stage
from pipeline.training import Training, train
from yoloslim.config import Params
from yoloslim.data.anchors import fit_anchors
from yoloslim.data.trainset import load_train_set
from yoloslim.errors import ModelError
from yoloslim.models.detector import Detector, build_detector
from yoloslim.models.store import load_model
from yoloslim.models.zoo import build_spec


def start_model(params: Params) -> Detector:
    """A fresh model with anchors that suit the data, or the one that `baseline.weights` names."""
    classes = split_of("train").classes
    if params.baseline.weights:
        model = load_model(Path(params.baseline.weights))
        if model.spec.classes != classes:
            raise ModelError(f"{params.baseline.weights} knows {model.spec.classes}, the data {classes}")
        return model
    images = load_train_set(split_of("train"), params.imgsz, Path(params.train.cache_dir) / "images")
    anchors = build_spec(params.model, classes, params.imgsz).anchors
    if params.train.auto_anchor:
        anchors = fit_anchors(images.box_sizes(), anchors, params.imgsz, params.train.anchor_t, params.seed)
    torch.manual_seed(params.seed)
    return build_detector(params.model, classes, params.imgsz, anchors)


def run(params: Params) -> None:
    """Write models/baseline, metrics/baseline.json and plots/baseline."""
    weights = (Path(params.baseline.weights),) if params.baseline.weights else ()
    train(params, Training(BASELINE, params.baseline, weights), start_model(params))


if __name__ == "__main__":
    stage(run)
