"""`yoloslim prune` with images: what it says of the network before and after, with boxes and without."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.pruning.networks import scramble
from tests.tiny import tiny_detector
from yoloslim.cli import app
from yoloslim.data.scenes.generate import generate_scenes
from yoloslim.data.voc import VOC_CLASSES
from yoloslim.deploy.latency import Clock
from yoloslim.errors import DataError, PruneError, YoloslimError
from yoloslim.models.detector import build_detector, count_params
from yoloslim.models.store import load_model, save_model

runner = CliRunner()


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    model = tiny_detector()
    scramble(model)
    save_model(model, tmp_path / "dense.safetensors")
    return tmp_path / "dense.safetensors"


def pictures(folder: Path, count: int = 6) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def test_pictures_without_boxes_bring_the_cut_network_nearer(stored: Path, tmp_path: Path) -> None:
    folder, words = pictures(tmp_path / "pictures"), ["prune", str(stored), "--percent", "30", "--round-to", "1"]
    plain = runner.invoke(app, [*words, "--out", str(tmp_path / "plain.safetensors")])
    settled = runner.invoke(app, [*words, "--out", str(tmp_path / "settled.safetensors"), "--data", str(folder)])
    assert plain.exit_code == settled.exit_code == 0, settled.output
    assert "6 images" in settled.output
    assert "pictures without boxes: no accuracy is measured" in settled.output
    report = json.loads((tmp_path / "settled.json").read_text())
    assert report["misfit"]
    assert all(row["after"] <= row["before"] for row in report["misfit"].values())
    dense, cut, fit = (load_model(tmp_path / f"{n}.safetensors").eval() for n in ("dense", "plain", "settled"))
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        errors = [sum(float((a - b).square().sum()) for a, b in zip(dense(x), n(x), strict=True)) for n in (cut, fit)]
    assert errors[1] < 0.5 * errors[0]


def test_a_data_set_tells_what_is_found_before_and_after(tmp_path: Path) -> None:
    (tmp_path / "voc").mkdir()
    generate_scenes(tmp_path / "voc", 0, 64, {"train": 4, "val": 2, "test": 2}, 1)
    classes = VOC_CLASSES
    save_model(build_detector("yolov5n", classes, 64), tmp_path / "m.safetensors")
    words = ["prune", str(tmp_path / "m.safetensors"), "--percent", "10", "--importance", "l2", "--no-fit"]
    result = runner.invoke(app, [*words, "--data", str(tmp_path / "voc")])
    assert result.exit_code == 0, result.output
    assert "mAP50 / mAP50-95 on the test images: 0.0" in result.output
    report = json.loads((tmp_path / "m-pruned.json").read_text())
    assert {f"accuracy_{name}" for name in ("dense", "cut", "settled")} <= report.keys()
    assert "misfit" not in report


def test_speed_is_measured_in_turn_when_it_was_asked_for(stored: Path) -> None:
    result = runner.invoke(app, ["prune", str(stored), "--target-speedup", "1.01", "--runtime", "pytorch"])
    if result.exit_code == 0:  # so small a network may be no faster, and then that is said
        report = json.loads(stored.with_name("dense-pruned.json").read_text())
        assert report["speedup"] == pytest.approx(report["latency_ms_dense"] / report["latency_ms"], rel=0.5)
        assert "times as fast, measured in turn" in result.output
    else:
        assert "target_speedup=1.01, from" in str(result.exception)


def test_channels_are_chosen_by_latency_within_a_budget(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Clock, "speedup", lambda clock, model, repeats=None: 2910 / count_params(model))
    words = ["prune", str(stored), "--selection", "latency", "--percent", "30", "--round-to", "1"]
    result = runner.invoke(app, [*words, "--runtime", "pytorch"])
    assert result.exit_code == 0, result.output
    assert "budget" in result.output
    assert "the table alone predicted" in result.output
    report = json.loads(stored.with_name("dense-pruned.json").read_text())
    found = report["latency"]
    assert 0.97 * 0.7 <= found["measured_ms"] / found["dense_ms"] <= 0.7
    assert report["speedup"] == pytest.approx(found["dense_ms"] / found["measured_ms"], rel=0.01)
    assert (found["runtime"], found["threads"]) == ("pytorch", 1)
    table = Path(found["table"])
    assert table.parent == tmp_path / "cache" / "yoloslim" / "latency"
    assert found["measuring_s"] > 0
    again = runner.invoke(app, [*words, "--runtime", "pytorch"])
    assert again.exit_code == 0, again.output
    assert json.loads(stored.with_name("dense-pruned.json").read_text())["latency"]["measuring_s"] == 0
    foreign = runner.invoke(app, [*words, "--runtime", "onnxruntime", "--latency-table", str(table)])
    assert "is of another machine: runtime 'pytorch', not 'onnxruntime'" in str(foreign.exception)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--selection", "latency", "--target-gflops", "1"], PruneError, "target_gflops=1.0 is another target"),
        (["--selection", "latency", "--cost-power", "1"], PruneError, "leave it out, or take selection percent"),
        (["--latency-table", "t.json"], YoloslimError, "--latency-table is for --selection latency"),
        (["--data", "nowhere"], DataError, "nowhere"),
        (["--data", "nowhere", "--images", "0"], PruneError, "images=0 leaves nothing to look at"),
        (["--target-speedup", "0.5"], PruneError, "target_speedup=0.5 is out of range; allowed: above 1"),
        (["--target-speedup", "2", "--percent", "30"], PruneError, "given at once"),
        (["--importance", "taylor"], PruneError, "use the pipeline"),
        (["--images", "32"], YoloslimError, "--images says how --data is used, and no --data is given"),
        (["--layout", "voc"], YoloslimError, "--layout says"),
        (["--no-fit"], YoloslimError, "--fit says"),
        (["--threads", "2"], YoloslimError, "--threads says how milliseconds are measured; add --target-latency-ms"),
    ],
)
def test_what_cannot_be_meant_is_refused(stored: Path, words: list[str], error: type[Exception], message: str) -> None:
    result = runner.invoke(app, ["prune", str(stored), *words])
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not stored.with_name("dense-pruned.safetensors").exists()
