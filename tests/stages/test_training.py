"""What the three trainings share, with a fake loop: nothing is trained here."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import tiny_detector
from yoloslim.config import Params, parse_params
from yoloslim.models.detector import Detector
from yoloslim.stages import training
from yoloslim.stages.common import evaluate_model
from yoloslim.stages.training import Training, train
from yoloslim.training.fit import Fit, Task


@dataclass
class Seen:
    """What the stage asked for."""

    samples: list[int] = field(default_factory=list)
    measured: list[Detector] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Two validations by a fake `fit`, on fake data."""
    found = Seen()

    def sample(params: Params, count: int) -> Any:
        found.samples.append(count)
        return np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), np.uint8)

    def measure(params: Params, model: Detector, images: object, precision: str = "fp32") -> Any:
        found.measured.append(model)
        return SimpleNamespace(metrics=dict.fromkeys(("map50", "map50_95", "precision", "recall"), 0.5))

    def fake_fit(task: Task) -> Fit:
        return Fit(task.model, [task.validate(task.model) for _ in range(2)], 2)

    fakes = {"training_sample": sample, "evaluate_model": measure, "fit": fake_fit, "checkpoint_key": lambda *_: "key"}
    nothing = ("eval_set", "train_set", "write_json", "write_csv", "save_results", "is_forced")
    for name, fake in (fakes | dict.fromkeys(nothing, lambda *_: None)).items():
        monkeypatch.setattr(training, name, fake)
    monkeypatch.setattr(training.Preview, "write", lambda *_: None)
    return found


def params_of(device: str = "cpu") -> Params:
    return parse_params({"train": {"device": device}, "tracking": {"enabled": False}})


def test_training_images_are_read_once_and_every_measured_model_is_settled_on_them(seen: Seen) -> None:
    params, model = params_of(), tiny_detector()
    train(params, Training("sparse", params.sparse, recalibrate_images=3), model)
    assert seen.samples == [3]
    assert len(seen.measured) == 3  # two epochs, and the test split
    means = [m.state_dict()["model.0.bn.running_mean"] for m in seen.measured]
    assert all(torch.equal(mean, means[0]) for mean in means)
    assert not torch.equal(means[0], model.state_dict()["model.0.bn.running_mean"])


def test_no_training_image_is_read_where_nothing_is_recalibrated(seen: Seen) -> None:
    params, model = params_of(), tiny_detector()
    train(params, Training("baseline", params.baseline), model)
    assert seen.samples == []
    assert seen.measured == [model] * 3


class FakePredictor:
    """Stands for TorchPredictor, and notes the device: a fake."""

    def __init__(self, model: Detector, device: str, precision: str, any_shape: bool) -> None:
        self.device = device


@pytest.mark.parametrize(
    ("has_cuda", "name", "expected"), [(True, "auto", "cuda"), (True, "cpu", "cpu"), (False, "auto", "cpu")]
)
def test_accuracy_is_measured_on_the_device_that_trains(
    has_cuda: bool, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_cuda)
    monkeypatch.setattr("yoloslim.stages.common.TorchPredictor", FakePredictor)
    monkeypatch.setattr("yoloslim.stages.common.evaluate", lambda predictor, *_: predictor.device)
    images: Any = None
    assert evaluate_model(params_of(name), tiny_detector(), images) == expected  # type: ignore[comparison-overlap]
