"""What the three trainings share, with a fake loop: nothing is trained here."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import tiny_detector
from yoloslim.config import Params, parse_params
from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector
from yoloslim.models.store import save_model
from yoloslim.stages import batches, training
from yoloslim.stages.measuring import evaluate_model, validate_model
from yoloslim.stages.training import Training, train
from yoloslim.training.fit import Fit, Task

ROW = ("map50", "map50_95", "precision", "recall")


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
        return SimpleNamespace(metrics=dict.fromkeys(ROW, 0.5))

    def fake_fit(task: Task) -> Fit:
        return Fit(task.model, [task.validate(task.model) for _ in range(2)], 2)

    monkeypatch.setattr(batches, "training_sample", sample)
    fakes = {"validate_model": measure, "fit": fake_fit, "checkpoint_key": lambda *_: "key"}
    nothing = ("eval_set", "train_set", "write_json", "write_csv", "store", "is_forced")
    for name, fake in (fakes | dict.fromkeys(nothing, lambda *_: None)).items():
        monkeypatch.setattr(training, name, fake)
    monkeypatch.setattr(training.Preview, "write", lambda *_: None)
    return found


@pytest.mark.parametrize(("classes", "refused"), [(("a", "b"), False), (("a", "b", "c"), True)])
def test_every_training_looks_at_the_teacher_first(
    classes: tuple[str, ...], refused: bool, seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tiny_detector(classes), Path("large.safetensors"))
    model, params = tiny_detector(), params_of(teacher="large.safetensors")
    if refused:
        with pytest.raises(TrainError, match=r"^finetune\.teacher large\.safetensors: the teacher tiny has classes "):
            train(params, Training("baseline", params.baseline), model)
    else:
        train(params, Training("baseline", params.baseline), model)
    assert len(seen.measured) == (0 if refused else 2)


def params_of(device: str = "cpu", **finetune: Any) -> Params:
    return parse_params({"train": {"device": device}, "tracking": {"enabled": False}, "finetune": finetune})


def test_training_images_are_read_once_and_every_measured_model_is_settled_on_them(seen: Seen) -> None:
    params, model = params_of(), tiny_detector()
    train(params, Training("sparse", params.sparse, recalibrate_images=3), model)
    assert seen.samples == [3]
    assert len(seen.measured) == 2
    means = [m.state_dict()["model.0.bn.running_mean"] for m in seen.measured]
    assert all(torch.equal(mean, means[0]) for mean in means)
    assert not torch.equal(means[0], model.state_dict()["model.0.bn.running_mean"])


def test_of_a_repeat_nothing_is_kept_but_the_model(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    params, saved = params_of(), []
    monkeypatch.setattr(training, "save_model", lambda model, path: saved.append(path))
    monkeypatch.setattr(training, "write_json", lambda *_: pytest.fail("a history of a repeat"))
    train(params, Training("finetune/50", params.finetune, repeat=2), tiny_detector())
    assert saved == [Path("models/finetune/50/repeats/0.safetensors")]


def test_no_training_image_is_read_where_nothing_is_recalibrated(seen: Seen) -> None:
    params, model = params_of(), tiny_detector()
    train(params, Training("baseline", params.baseline), model)
    assert seen.samples == []
    assert seen.measured == [model] * 2


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [(0.44, 0.28, True), (0.44, 0.44, False), (0.4403, 0.4401, False), (0.02, 0.5, False)],
)
def test_weights_that_a_training_made_worse_are_told(
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    before: float,
    after: float,
    warned: bool,
) -> None:
    found, written = iter([before, after - 0.1, after]), list[Any]()
    monkeypatch.setattr(training, "validate_model", lambda *_: SimpleNamespace(metrics=dict.fromkeys(ROW, next(found))))
    monkeypatch.setattr(training, "write_json", lambda path, value: written.append(value))
    params = params_of()
    with caplog.at_level(logging.INFO):
        train(params, Training("baseline", params.baseline, is_from_weights=True), tiny_detector())
    assert f"val mAP50 {before:.3f} before training, {after:.3f} after" in caplog.text
    assert ("made the weights that it started from worse: val mAP50 0.440 before, 0.280" in caplog.text) == warned
    assert ("worse" in caplog.text) == warned
    assert ("or train on more images; epochs: 0 takes the weights as they are" in caplog.text) == warned
    assert written[0]["start"] == dict.fromkeys(ROW, before)


class FakePredictor:
    """Stands for TorchPredictor, and notes the device: a fake."""

    def __init__(self, model: Detector, device: str, precision: str, any_shape: bool = False) -> None:
        self.device = device


@pytest.mark.parametrize(
    ("has_cuda", "name", "expected"), [(True, "auto", "cuda"), (True, "cpu", "cpu"), (False, "auto", "cpu")]
)
def test_accuracy_is_measured_on_the_device_that_trains(
    has_cuda: bool, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_cuda)
    monkeypatch.setattr("yoloslim.stages.measuring.TorchPredictor", FakePredictor)
    monkeypatch.setattr("yoloslim.stages.measuring.evaluate", lambda predictor, *_: predictor.device)
    images: Any = None
    for measure in (evaluate_model, validate_model):
        assert measure(params_of(name), tiny_detector(), images) == expected  # type: ignore[comparison-overlap]


def test_what_chooses_an_epoch_does_not_follow_how_models_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("yoloslim.stages.measuring.TorchPredictor", FakePredictor)
    monkeypatch.setattr("yoloslim.stages.measuring.evaluate", lambda predictor, *rest: seen.append(rest))
    images: Any = None
    other = parse_params({"evaluation": {"iou_thres": 0.5, "conf_thres": 0.1, "batch": 3, "max_det": 7}})
    for params in (Params(), other):
        validate_model(params, tiny_detector(), images)
        evaluate_model(params, tiny_detector(), images)
    assert seen[0] == seen[2] == seen[1][:3]  # the rule is what section evaluation says by default
    assert seen[3] != seen[1]
