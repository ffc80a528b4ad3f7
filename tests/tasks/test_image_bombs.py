"""Through the commands that people type, and through the stage that reads their data."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests import bombs
from tests.project import ROOT
from tests.tiny import tiny_detector
from yoloslim.cli import app
from yoloslim.data.voc import annotation_from, write_annotation
from yoloslim.deploy.ascend.atc import compile_model
from yoloslim.deploy.export_model import export_model
from yoloslim.files import read_json
from yoloslim.models.store import save_model
from yoloslim.runner.headers import MEGAPIXELS, limit_megapixels

SAYS = "declares 32000 x 32000 pixels, 1024 million, and no more than 128 million are decoded"


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    yield
    limit_megapixels(MEGAPIXELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bombs")
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / "voc" / name).mkdir(parents=True)
    cv2.imwrite(str(root / "voc/JPEGImages/sound.jpg"), np.full((48, 64, 3), 99, np.uint8))
    (root / "voc/JPEGImages/jpeg.jpg").write_bytes(bombs.jpeg())
    (root / "voc/JPEGImages/png.jpg").write_bytes(bombs.png())
    names = ("sound", "jpeg", "png")
    for name in names:
        note = annotation_from(64, 48, [[5, 5, 50, 40]], [0], [False], [False])
        write_annotation(root / f"voc/Annotations/{name}.xml", f"{name}.jpg", note, ("a", "b"))
    (root / "voc/ImageSets/Main/test.txt").write_text("".join(f"{name}\n" for name in names))
    model = tiny_detector().eval()
    save_model(model, root / "model.safetensors")
    export_model(model, root / "export")
    return root


@pytest.mark.parametrize(
    "command",
    [
        "detect {m} {i}/jpeg.jpg --out {o}",
        "detect {m} {i} --out {o}",
        "speed {m} {i}/png.jpg",
        "eval {m} {v} --out {o}",
        "features {m} {i}/png.jpg --out {o}/f.png",
        "quantize {e} {i} --out {o}",
    ],
)
def test_commands_refuse_bombs_with_a_sentence(
    folder: Path, tmp_path: Path, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    places = {"m": folder / "model.safetensors", "i": folder / "voc/JPEGImages", "v": folder / "voc", "o": tmp_path}
    words = [word.format(e=folder / "export", **places) for word in command.split()]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    if command.startswith("detect {m} {i} "):  # the sound one is done all the same
        assert "2 of 3 images could not be read" in str(result.exception)
        assert (tmp_path / "sound.jpg").is_file()
    else:
        assert SAYS in str(result.exception) + caplog.text


def test_an_option_raises_and_lowers_the_limit(folder: Path, tmp_path: Path) -> None:
    words = ["detect", str(folder / "model.safetensors"), str(folder / "voc/JPEGImages/sound.jpg"), "--out"]
    low = CliRunner().invoke(app, [*words, str(tmp_path), "--max-megapixels", "0.003"])
    assert (low.exit_code, "could not be read" in str(low.exception)) == (1, True)
    assert CliRunner().invoke(app, [*words, str(tmp_path), "--max-megapixels", "0.0031"]).exit_code == 0


def test_the_board_refuses_bombs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    compile_model(folder / "export", tmp_path / "bundle")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "BACKEND": "onnxruntime"}
    command = ["bash", str(tmp_path / "bundle/run.sh"), "eval", str(folder / "voc")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert SAYS in done.stderr
    assert "Traceback" not in done.stderr


def test_the_data_stage_leaves_bombs_out_and_says_so(folder: Path, tmp_path: Path) -> None:
    params = {"source": "voc", "path": str(folder / "voc"), "train_set": "test", "val_set": "test", "test_set": "test"}
    lines = "".join(f"  {key}: {value}\n" for key, value in params.items())
    (tmp_path / "params.yaml").write_text(f"data:\n{lines}")
    command = [sys.executable, "-m", "pipeline.data"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT}/src"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert SAYS in said
    assert "Traceback" not in said
    assert (done.returncode, "2 of 3 images cannot be used" in said) == (1, True), said
    if done.returncode == 0:
        left_out = read_json(tmp_path / "data/voc/report.json")["left_out"]
        assert sorted(item["name"] for item in left_out) == ["jpeg", "png"]
