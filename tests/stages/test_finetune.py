"""Stage `finetune` with quantisation, and what `export` and `quantize` make of it; the training itself is a fake."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.tiny import shake_norms, tiny_detector
from yoloslim import ranges
from yoloslim.cli import app
from yoloslim.config import Params, parse_params
from yoloslim.deploy.manifest import load_manifest
from yoloslim.errors import ConfigError, ModelError, TrainError
from yoloslim.models.detector import Detector
from yoloslim.models.store import load_model, save_model
from yoloslim.stages import export, finetune, repeats
from yoloslim.stages.control import phase_of
from yoloslim.stages.training import Training
from yoloslim.training.callback import State
from yoloslim.training.distillation import Distillation
from yoloslim.training.fit import Fit


def params_of(quantize: bool) -> Params:
    return parse_params({"finetune": {"quantize": quantize, "epochs": 1, "distill_output": 0}})


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """Trainings that the stage asked for: no epoch, but all that comes before and after."""
    monkeypatch.chdir(tmp_path)
    model = tiny_detector()
    shake_norms(model)
    save_model(model, Path("models/prune/50/model.safetensors"))
    seen: list[Training] = []

    def train(_: Params, training: Training, model: Detector, more: Any = None) -> None:
        seen.append(training)
        for callback in training.callbacks:
            callback.start(State(model, model, 1))
        save_model(model, Path("models") / training.name / "model.safetensors")
        if more:
            more(Fit(model, [], 1))

    def sample(_: Params, count: int) -> Any:
        return np.random.default_rng(0).integers(0, 256, (min(count, 4), 64, 64, 3), dtype=np.uint8)

    monkeypatch.setattr(repeats, "train_resumable", train)
    monkeypatch.setattr(finetune, "training_sample", sample)
    return seen


def test_without_quantisation_nothing_is_added(asked: list[Training]) -> None:
    finetune.run(params_of(False), 50)
    assert asked[0].callbacks == ()
    assert not asked[0].keep_last
    assert not Path("models/finetune/50/ranges.json").exists()


def test_the_ranges_of_the_training_reach_the_export(asked: list[Training]) -> None:
    finetune.run(params_of(True), 50)
    assert asked[0].keep_last  # the best epoch may be one that rounds nothing
    export.run(params_of(True), "50")
    found = load_manifest(Path("models/export/50")).ranges
    assert found == ranges.load(Path("models/finetune/50/model.safetensors"))
    assert found["model.0.conv"][:2] == pytest.approx((0, 1), abs=0.01)
    load_model(Path("models/finetune/50/model.safetensors"))  # a model like any other
    CliRunner().invoke(app, ["export", "models/finetune/50/model.safetensors", "--out", "out"], catch_exceptions=False)
    assert load_manifest(Path("out")).ranges == found


def test_ranges_are_of_the_model_that_was_trained_and_of_no_other_beside_it(asked: list[Training]) -> None:
    finetune.run(params_of(True), 50)
    folder = Path("models/finetune/50")
    shutil.copyfile(folder / "model.safetensors", folder / "copy.safetensors")
    assert ranges.load(folder / "copy.safetensors") == ranges.load(folder / "model.safetensors") != {}
    save_model(tiny_detector(), folder / "pruned.safetensors")  # convolutions of the same names
    assert ranges.load(folder / "pruned.safetensors") == {}


def test_damaged_ranges_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ranges.json").write_text('{"model_sha256": "0", "ranges": {"model.0.conv": [0, "x", 0, 1]}}')
    with pytest.raises(ModelError, match=r"ranges\.json is damaged"):
        ranges.load(tmp_path / "model.safetensors")


def test_the_control_is_not_quantised() -> None:
    assert phase_of(params_of(True)).quantize is False  # type: ignore[attr-defined]


def test_a_teacher_is_a_stages_model_or_a_file(asked: list[Training]) -> None:
    teacher = tiny_detector()
    save_model(teacher, Path("models/control/dense/model.safetensors"))
    save_model(teacher, Path("elsewhere/large.safetensors"))
    large, dense = "elsewhere/large.safetensors", "models/control/dense"
    for name, file in ((dense, f"{dense}/model.safetensors"), (large, large)):
        finetune.run(parse_params({"finetune": {"teacher": name, "epochs": 1}}), 50)
        assert asked[-1].inputs == (Path("models/prune/50/model.safetensors"), Path(file))
        (teaching,) = asked[-1].callbacks
        assert isinstance(teaching, Distillation)
        assert (teaching.output, teaching.feature) == (0.5, 0.0)


def test_a_teacher_that_is_not_there_or_idle_is_named(asked: list[Training]) -> None:
    with pytest.raises(TrainError, match=r"finetune\.teacher: big\.pt is missing; name models/baseline"):
        finetune.run(parse_params({"finetune": {"teacher": "big.pt"}}), 50)
    with pytest.raises(ConfigError, match=r"teacher big\.pt teaches nothing: set distill_output"):
        parse_params({"finetune": {"teacher": "big.pt", "distill_output": 0}})
    with pytest.raises(ConfigError, match=r"controls \[\] trains no such model.*teacher: models/baseline with"):
        parse_params({"controls": []})
    nobody = {"teacher": "models/baseline", "distill_output": 0}
    assert not parse_params({"controls": [], "finetune": nobody}).finetune.is_taught
    assert asked == []
