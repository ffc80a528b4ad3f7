"""Stages that train what they cut, here for a few steps on images that need no files; accuracy is not measured."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tiny import shake_norms, tiny_detector, tiny_train_set
from yoloslim.config import Params, parse_params
from yoloslim.models.detector import Detector
from yoloslim.models.store import save_model
from yoloslim.stages import prune, recovery, training
from yoloslim.training.learner import Learner

EPOCH = 2
"""Steps of an epoch: 8 images, 4 a batch."""
ACCURACY = dict.fromkeys(("map50", "map50_95", "precision", "recall"), 0.5)


def short_params(section: dict[str, Any]) -> Params:
    """Those of the smallest detector, with a section `prune`."""
    train = {"batch": 4, "device": "cpu", "precision": "fp32", "threads": 1}
    usual = {"round_to": 1, "recalibrate_images": 0}
    return parse_params({"imgsz": 64, "train": train, "prune": usual | section, "finetune": {"epochs": 4}})


def without_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    """A sparse model that is stored in a folder, into which the test goes, and drawn-up images."""
    monkeypatch.chdir(folder)
    model = tiny_detector()
    shake_norms(model)
    save_model(model, Path("models/sparse/model.safetensors"))
    monkeypatch.setattr(recovery, "train_set", lambda _: tiny_train_set(8))
    monkeypatch.setattr(recovery, "eval_set", lambda *_: None)
    monkeypatch.setattr(training, "validation_row", lambda *_: ACCURACY)
    monkeypatch.setattr(training, "code_of", lambda _: [])
    images = tiny_train_set(2).images.permute(0, 3, 1, 2).float() / 255
    monkeypatch.setattr(prune, "training_images", lambda _, count: iter([images] if count else []))
    return model


def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with every step of any training."""
    steps: list[int] = []
    step = Learner.step
    monkeypatch.setattr(Learner, "step", lambda self, given: (steps.append(given.index), step(self, given)))
    return steps


def stopped_at_the_second(
    step: str, stage: ModuleType, run: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run a stage until Ctrl-C comes, when all before its second call of a function is done."""
    function, calls = getattr(stage, step), []

    def killed(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return function(*given)

    with monkeypatch.context() as patch:
        patch.setattr(stage, step, killed)
        with pytest.raises(KeyboardInterrupt):
            run()


def checkpoints() -> list[Path]:
    """Those of trainings that are not done."""
    return list(Path(".cache/checkpoints").glob("*.pt"))
