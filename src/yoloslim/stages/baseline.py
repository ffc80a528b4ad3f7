"""Stage `baseline`: train the dense model that all others are compared with."""

from pathlib import Path

import torch

from yoloslim.config import Params
from yoloslim.heads import Head
from yoloslim.models.detector import Detector, build_detector
from yoloslim.models.foreign.adapt import with_classes, with_imgsz
from yoloslim.models.foreign.load import import_model
from yoloslim.models.foreign.source import find_weights
from yoloslim.models.zoo import build_spec
from yoloslim.stages.batches import train_set
from yoloslim.stages.common import BASELINE, DATA, stage
from yoloslim.stages.inputs import prepared_split
from yoloslim.stages.training import Training, train


def start_model(params: Params, weights: Path | None = None, root: Path = DATA) -> Detector:
    """A fresh model with a head that suits the data, or one that begins with the weights of a file."""
    classes = prepared_split("train", root).classes
    images = train_set(params, root)
    sizes = images.box_sizes() * (params.imgsz / images.imgsz)

    def fit(head: Head, made_for: int | None = None) -> Head:
        return head.fitted(sizes, params.imgsz, params.train, params.seed, made_for)

    if weights:
        torch.manual_seed(params.seed)
        model = with_classes(import_model(weights, params.model or None, classes), classes)
        return with_imgsz(model, params.imgsz, fit)
    head = fit(build_spec(params.model, classes, params.imgsz).head)  # nothing is trained yet that anchors belong to
    torch.manual_seed(params.seed)
    return build_detector(params.model, classes, params.imgsz, head)


def run(params: Params) -> None:
    """Write models/baseline and plots/baseline."""
    source = params.baseline.weights
    weights = find_weights(source, Path(params.data.download_dir)) if source else None
    inputs = (weights,) if weights else ()
    training = Training(BASELINE, params.baseline, inputs, is_from_weights=weights is not None)
    train(params, training, start_model(params, weights))


def main() -> None:
    """Run the stage."""
    stage(run)
