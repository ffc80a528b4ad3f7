"""Stage `baseline`: train the dense model that all others are compared with, or take weights of others as it."""

import logging
from pathlib import Path

import torch

from yoloslim.config import Params
from yoloslim.errors import WeightsError
from yoloslim.heads import Head
from yoloslim.models.detector import Detector, build_detector
from yoloslim.models.foreign.adapt import with_classes, with_imgsz
from yoloslim.models.foreign.classes import match_classes
from yoloslim.models.foreign.load import import_model
from yoloslim.models.foreign.source import find_weights
from yoloslim.models.zoo import build_spec
from yoloslim.stages.batches import train_set
from yoloslim.stages.common import BASELINE, DATA, stage
from yoloslim.stages.inputs import eval_set, prepared_split
from yoloslim.stages.models import store
from yoloslim.stages.training import Training, train, validation_row, write_untrained
from yoloslim.training.devices import choose_device

logger = logging.getLogger("yoloslim")


def start_model(params: Params, weights: Path | None = None, root: Path = DATA) -> Detector:
    """A fresh model with a head that suits the data, or one that begins with the weights of a file.

    Raises:
        WeightsError: the file cannot be read, or nothing is to be trained and it lacks classes of the data.
    """
    classes = prepared_split("train", root).classes
    images = train_set(params, root)
    sizes = images.box_sizes() * (params.imgsz / images.imgsz)

    def fit(head: Head, made_for: int | None = None) -> Head:
        if made_for and not params.baseline.epochs:
            return head  # nothing will be trained that could make up for other anchors
        return head.fitted(sizes, params.imgsz, params.train, params.seed, made_for)

    if weights:
        torch.manual_seed(params.seed)
        given = import_model(weights, params.model or None, classes)
        if not params.baseline.epochs:
            _expect_all(classes, given.spec.classes, weights)
        return with_imgsz(with_classes(given, classes), params.imgsz, fit)
    head = fit(build_spec(params.model, classes, params.imgsz).head)  # nothing is trained yet that anchors belong to
    torch.manual_seed(params.seed)
    return build_detector(params.model, classes, params.imgsz, head)


def _expect_all(classes: tuple[str, ...], known: tuple[str, ...], weights: Path) -> None:
    """Fail where classes of the data are none of the file's, since nothing would ever find them."""
    found = match_classes(classes, known)
    if new := [name for name in classes if name not in found]:
        names = ", ".join(new[:5]) + (" ..." if len(new) > 5 else "")
        raise WeightsError(
            f"baseline.epochs is 0, and {weights} does not know {len(new)} of the {len(classes)} classes of the data: "
            f"{names}; train the baseline, or leave their boxes out of the data"
        )


def run(params: Params) -> None:
    """Write models/baseline and plots/baseline."""
    source = params.baseline.weights
    weights = find_weights(source, Path(params.data.download_dir)) if source else None
    if not params.baseline.epochs:
        take(params, start_model(params, weights))
        return
    inputs = (weights,) if weights else ()
    training = Training(BASELINE, params.baseline, inputs, is_from_weights=weights is not None)
    train(params, training, start_model(params, weights))


def take(params: Params, model: Detector) -> None:
    """Make a model the baseline as it is; the history says what it finds, and that there was no training."""
    found = validation_row(params, model.to(choose_device(params.train.device)), eval_set(params, "val"))
    logger.info("baseline.epochs is 0: nothing is trained; the weights as they are find val mAP50 %.3f", found["map50"])
    write_untrained(BASELINE, {"start": found})
    store(model.cpu(), BASELINE)


def main() -> None:
    """Run the stage."""
    stage(run)
