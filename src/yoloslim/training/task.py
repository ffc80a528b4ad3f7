"""What one training needs, and what comes out of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yoloslim.config import PhaseParams, TrainParams
from yoloslim.data.trainset import TrainSet
from yoloslim.models.detector import Detector
from yoloslim.training.callback import Callback, Row

Validate = Callable[[Detector], Row]
"""Maps the averaged model to val metrics, with at least map50 and map50_95."""


@dataclass(frozen=True)
class Fit:
    """What came out: the averaged model that was kept, one row an epoch, and which epoch it is from.

    Where several processes train, only the one with `is_main` should write results.
    """

    model: Detector
    history: list[Row]
    kept_epoch: int
    is_main: bool = True


@dataclass(frozen=True)
class Task:
    """All that one training needs.

    Attributes:
        model: where it starts; left unchanged.
        train_set: images and boxes.
        validate: measures the averaged model after an epoch.
        train, phase, seed: sections of params.yaml.
        callbacks: see Callback.
        keep: the epoch with the best val mAP, or the last one.
        checkpoint: where to resume from; None keeps none. It stays when the training is over, for the caller to
            remove once the results are safe.
        profile: folder to write where the time of some steps goes; see Profile.
    """

    model: Detector
    train_set: TrainSet
    validate: Validate
    train: TrainParams
    phase: PhaseParams
    seed: int = 0
    callbacks: Sequence[Callback] = ()
    keep: Literal["best", "last"] = "best"
    checkpoint: Path | None = None
    profile: Path | None = None
