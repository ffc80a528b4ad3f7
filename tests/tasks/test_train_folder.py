"""`yoloslim train` and `yoloslim.train`: a model from a folder, without a project."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import yoloslim
from tests.squares import CLASSES, write_squares
from tests.tiny import tiny_detector
from yoloslim.cli import app
from yoloslim.cores import usable_cores
from yoloslim.errors import ConfigError, DataError, Interrupted, ModelError, WeightsError
from yoloslim.models.store import load_model, save_model
from yoloslim.tasks import train_folder as module

EASY = {"batch": 8, "lr0": 0.02, "translate": 0.0, "scale": 0.0, "flip": 0.0, "hsv_h": 0.0, "val_every": 5}
EASY |= {"precision": "fp32", "ema_tau": 20, "threads": 1}


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "set", 40)


@pytest.fixture(scope="module")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> module.Trained:
    out = tmp_path_factory.mktemp("trained") / "out"
    return yoloslim.train(tiny_detector(("red", "blue")), squares, out, epochs=40, imgsz=64, **EASY)


def test_a_folder_becomes_a_model_that_finds_what_is_in_it(trained: module.Trained, squares: Path) -> None:
    out = trained.path.parent
    assert {path.name for path in out.iterdir()} == {
        *("model.safetensors", "metrics.json", "history.json", "epochs.csv", "train.json", "data")
    }
    assert trained.metrics["map50"] > 0.5  # an untrained one has 0.00
    stored = json.loads((out / "metrics.json").read_text())
    assert stored["test"] == trained.metrics
    assert set(stored["per_class"]) == set(CLASSES)
    assert len((out / "epochs.csv").read_text().splitlines()) == 41
    assert trained.kept_epoch % 5 == 0
    model = load_model(trained.path)
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), trained.model.state_dict().values(), strict=True)
    )
    # what the training measured is what anybody measures, on its own data, or on the source, split alike
    for data in (out / "data", squares):
        assert yoloslim.evaluate(trained.path, data).metrics == pytest.approx(trained.metrics)


def test_interrupted_and_called_again_it_ends_in_the_same_model(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(out: Path) -> module.Trained:
        return yoloslim.train(tiny_detector(CLASSES), squares, out, epochs=4, imgsz=64, **EASY | {"val_every": 1})

    whole, real, calls = run(tmp_path / "whole"), module.validation_row, [0]

    def ctrl_c(*args: Any) -> dict[str, float]:
        calls[0] += 1
        if calls[0] == 3:  # the first is of the weights that it starts from
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(module, "validation_row", ctrl_c)
    with pytest.raises(Interrupted, match=r"stopped after epoch 2 of 4.*give the same command again"):
        run(tmp_path / "out")
    assert not (tmp_path / "out/model.safetensors").exists()
    resumed = run(tmp_path / "out")
    assert calls[0] == 3 + 1 + 2  # two epochs were not trained again
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ConfigError, match=r"model.safetensors is there already, and nothing is overwritten"):
        run(tmp_path / "out")


def test_an_unfinished_training_of_another_request_is_kept(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> dict[str, float]:
        raise Interrupted(2, "here")

    monkeypatch.setattr(module, "validation_row", stop)
    with pytest.raises(Interrupted):
        yoloslim.train("yolov5n", squares, tmp_path / "out", epochs=1, imgsz=64, batch=16)
    with pytest.raises(ConfigError, match=r"unfinished training of another request \(epochs was 1, is 2\)"):
        yoloslim.train("yolov5n", squares, tmp_path / "out", epochs=2, imgsz=64, batch=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batchsize": 4}, "training has no option 'batchsize'; did you mean 'batch'?"),
        ({"lr": 0.1}, "training has no option 'lr'; did you mean 'lr0' or 'lrf'?"),
        ({"epochs": 0}, "epochs = 0: a training has one at least"),
        ({"imgsz": 100}, "imgsz = 100: must be a multiple of 32; nearest are 96 and 128"),
        ({"imgsz": 96, "model": "yolov5n6"}, "imgsz 96 is not a multiple of 64, which yolov5n6 needs; 128 is the next"),
        ({"device": "tpu"}, "train.device = 'tpu'"),
        ({"model": "yolov5q"}, "model 'yolov5q' is not known; did you mean 'yolov5"),
        ({"layout": "vok"}, "vok"),
        ({"weights": "x.pt"}, "training has no option 'weights'"),
    ],
)
def test_what_cannot_be_meant_is_refused(squares: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    words = {"model": "yolov5n", "data": squares, "out": tmp_path / "out", **options}
    with pytest.raises((ConfigError, DataError, ModelError), match=message):
        yoloslim.train(**words)
    assert not (tmp_path / "out/model.safetensors").exists()


def test_weights_and_data_that_are_not_there_are_named(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.pt is missing"):
        yoloslim.train(tmp_path / "none.pt", squares, tmp_path / "out")
    with pytest.raises(DataError, match="nowhere"):
        yoloslim.train("yolov5n", tmp_path / "nowhere", tmp_path / "out", imgsz=64)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"full holds mine.txt, and no training"):
        yoloslim.train("yolov5n", squares, tmp_path / "full", imgsz=64)


def test_the_command_trains_from_weights_of_other_classes(
    squares: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    save_model(tiny_detector(("a", "b", "c")), tmp_path / "start.safetensors")
    words = ["train", str(squares / "data.yaml"), "--model", str(tmp_path / "start.safetensors"), "--epochs", "1"]
    words += ["--out", str(tmp_path / "out"), "--batch", "16", "--set", "train.precision=fp32", "--set", "lr0=0.001"]
    words += ["--profile", "--set", "threads=512"]
    with caplog.at_level("INFO"):
        done = CliRunner().invoke(app, words)
    assert "train.threads is 512 and OMP_NUM_THREADS 1: train.threads counts" in caplog.text
    assert f"train.threads is 512, but this process may use {usable_cores()} core(s)" in caplog.text
    assert done.exit_code == 0, done.output + str(done.exception)
    assert f"{tmp_path}/out/model.safetensors: tiny, 2 classes, 64 px" in done.output
    assert f"Next: yoloslim prune {tmp_path}/out/model.safetensors --percent 50" in done.output
    assert "red" in done.output  # what the data hold
    assert load_model(tmp_path / "out/model.safetensors").spec.classes == CLASSES
    asked = json.loads((tmp_path / "out/train.json").read_text())
    assert (asked["lr0"], asked["batch"], asked["imgsz"], asked["precision"]) == (0.001, 16, 64, "fp32")
    assert "no profile: an epoch has 2 step(s)" in caplog.text
    wrong = CliRunner().invoke(app, ["train", str(squares), "--set", "lr0"])
    assert str(wrong.exception) == "--set lr0 names no value; write --set KEY=VALUE"
    below = CliRunner().invoke(app, ["train", str(squares), "--out", str(tmp_path / "below"), "--set", "threads=-1"])
    assert below.exit_code == 1
    assert "train.threads = -1: Input should be greater than or equal to 0" in str(below.exception)


def test_of_several_processes_one_speaks(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = module.Trained(tiny_detector(CLASSES), {}, [], 0, tmp_path / "model.safetensors")  # measured nothing
    monkeypatch.setattr(module, "train_folder", lambda *_: other)
    done = CliRunner().invoke(app, ["train", str(squares)])
    assert (done.exit_code, done.output) == (0, "")
