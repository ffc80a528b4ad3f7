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
from yoloslim import cores
from yoloslim.cli import app
from yoloslim.config import TrainParams
from yoloslim.data.augment import Augmentation, Augmenter
from yoloslim.data.scenes.generate import generate_scenes
from yoloslim.data.trainset import load_train_set
from yoloslim.data.voc import VOC_CLASSES, load_split
from yoloslim.deploy.latency import Clock
from yoloslim.errors import DataError, PruneError, YoloslimError
from yoloslim.models.detector import Detector, build_detector, count_params
from yoloslim.models.store import load_model, save_model
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.importance import taylor_scores
from yoloslim.tasks.sample import Sample, sample_of

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


@pytest.mark.parametrize(
    ("shrunk", "typed", "means"),
    [
        (0.0, [], ["--importance", "l2", "--normalise", "mean"]),
        (0.6, [], ["--importance", "gamma", "--normalise", "none"]),
        (0.0, ["--importance", "l1"], ["--importance", "l1", "--normalise", "mean"]),
        (0.0, ["--importance", "gamma"], ["--importance", "gamma", "--normalise", "none"]),
        (0.0, ["--normalise", "lamp"], ["--importance", "l2", "--normalise", "lamp"]),
        (0.0, ["--selection", "flops"], ["--selection", "flops", "--importance", "l2", "--normalise", "none"]),
    ],
)
def test_with_images_channels_are_ranked_by_what_the_network_allows(
    stored: Path, tmp_path: Path, shrunk: float, typed: list[str], means: list[str]
) -> None:
    model = load_model(stored)
    for name, value in model.named_parameters():
        if name.endswith("bn.weight"):
            value.data[: int(shrunk * len(value))] *= 1e-4
    save_model(model, stored)
    written = []
    for name, words in (("auto", typed), ("said", means)):
        words = ["prune", str(stored), *words, "--out", str(tmp_path / name), "--round-to", "1", "--percent", "40"]
        result = runner.invoke(app, [*words, "--data", str(pictures(tmp_path / f"p-{name}"))])
        assert result.exit_code == 0, result.output
        said = "no penalty made scales small, so channels are ranked by l2" in result.output
        assert said == (name == "auto" and "--importance" not in typed and not shrunk)
        written.append((tmp_path / f"{name}.safetensors").read_bytes())
    assert written[0] == written[1]


def test_without_images_gamma_ranks(stored: Path, tmp_path: Path) -> None:
    for name, words in (("auto", []), ("said", ["--importance", "gamma", "--normalise", "none"])):
        assert runner.invoke(app, ["prune", str(stored), "--out", str(tmp_path / name), *words]).exit_code == 0
    assert (tmp_path / "auto.safetensors").read_bytes() == (tmp_path / "said.safetensors").read_bytes()


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


@pytest.mark.parametrize("how", [[], ["--no-fit"], ["--no-fold"], ["--no-fit", "--no-fold"]])
def test_what_the_cut_finds_is_not_measured_on_what_makes_up_for_it(
    how: list[str], stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(model: Detector) -> float:
        return float(sum(value.double().abs().sum() for value in model.state_dict().values()))

    monkeypatch.setattr(Sample, "accuracy", lambda _, model: dict.fromkeys(("map50", "map50_95"), told(model)))
    ranking = ["--percent", "30", "--round-to", "1", "--importance", "l2", "--normalise", "mean"]
    variants = {
        "plain": [word for word in how if word != "--no-fit"],
        "settled": [*how, "--data", str(pictures(tmp_path / "pictures"))],
    }
    for name, words in variants.items():
        out = str(tmp_path / name)
        assert runner.invoke(app, ["prune", str(stored), *ranking, *words, "--out", out]).exit_code == 0
    report = json.loads((tmp_path / "settled.json").read_text())
    cut, settled = (told(load_model(tmp_path / f"{name}.safetensors")) for name in variants)
    assert report["accuracy_cut"]["map50"] == pytest.approx(cut, rel=1e-9)
    assert report["accuracy_settled"]["map50"] == pytest.approx(settled, rel=1e-9)
    assert cut != pytest.approx(settled, rel=1e-6)


def test_classes_that_are_spelled_otherwise_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "voc").mkdir()
    generate_scenes(tmp_path / "voc", 0, 64, {"train": 4, "val": 2, "test": 2}, 1)
    save_model(build_detector("yolov5n", tuple(map(str.upper, VOC_CLASSES)), 64), tmp_path / "m.safetensors")
    words = ["prune", str(tmp_path / "m.safetensors"), "--percent", "10", "--importance", "taylor"]
    with caplog.at_level("INFO"):
        result = runner.invoke(app, [*words, "--data", str(tmp_path / "voc")])
    assert result.exit_code == 0, result.output
    assert "mAP50 / mAP50-95 on the test images: 0.0" in result.output
    assert (caplog.text + result.output).count("spelled otherwise in the data") == 1


def test_boxes_of_other_classes_are_told_before_anything_is_cut_and_timed(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "voc").mkdir()
    generate_scenes(tmp_path / "voc", 0, 64, {"train": 2, "val": 1, "test": 1}, 1)
    monkeypatch.setattr("yoloslim.tasks.prune_file.timed_prune", lambda *_, **__: pytest.fail("cut"))
    result = runner.invoke(app, ["prune", str(stored), "--data", str(tmp_path / "voc"), "--target-speedup", "1.2"])
    assert isinstance(result.exception, DataError)
    assert "is not among the 2 classes" in str(result.exception)


def test_speed_is_measured_in_turn_when_it_was_asked_for(stored: Path) -> None:
    result = runner.invoke(app, ["prune", str(stored), "--target-speedup", "1.01", "--runtime", "pytorch"])
    if result.exit_code == 0:  # so small a network may be no faster, and then that is said
        report = json.loads(stored.with_name("dense-pruned.json").read_text())
        assert report["speedup"] == pytest.approx(report["latency_ms_dense"] / report["latency_ms"], rel=0.5)
        assert "times as fast, measured in turn" in result.output
    else:
        assert "target_speedup=1.01 is out of reach" in str(result.exception)


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


def test_pictures_alone_tell_what_is_active_and_not_what_matters(stored: Path, tmp_path: Path) -> None:
    folder, words = pictures(tmp_path / "pictures"), ["prune", str(stored), "--percent", "40", "--round-to", "1"]
    result = runner.invoke(app, [*words, "--data", str(folder), "--no-fit", "--importance", "activation"])
    assert result.exit_code == 0, result.output
    dense, small = load_model(stored).eval(), load_model(stored.with_name("dense-pruned.safetensors"))
    with sample_of(folder, "auto", dense, 128) as sample, torch.no_grad():
        mean = dense.model[0](sample.images).abs().mean((0, 2, 3))
    kept = dense.model[0].conv.weight[:, None] == small.model[0].conv.weight[None]  # type: ignore[union-attr]
    stay = kept.flatten(2).all(2).any(1)
    assert 0 < stay.sum() < 4
    assert mean[stay].min() > mean[~stay].max()
    boxes = runner.invoke(app, [*words, "--data", str(folder), "--importance", "taylor"])
    assert "taylor needs boxes, and these are pictures without" in str(boxes.exception)


def test_boxes_give_the_scores_that_the_stage_takes(tmp_path: Path) -> None:
    """By another way from files to batches: the one that training goes."""
    (tmp_path / "voc").mkdir()
    generate_scenes(tmp_path / "voc", 0, 64, {"train": 4, "val": 2, "test": 2}, 1)
    model = tiny_detector(VOC_CLASSES).eval()
    scramble(model)
    with sample_of(tmp_path / "voc", "auto", model, 4) as sample:
        found = sample.scores(model, "taylor")
        split = load_split(sample.root, "train")
        order = [split.ids.index(path.stem) for path in sample.paths]
        batch = Augmenter(
            load_train_set(split, 64, tmp_path / "cache"), Augmentation.none(), torch.device("cpu")
        ).batch(torch.tensor(order), torch.Generator(), compose=False)
        assert sample.scores(model, "l2") is None
    torch.testing.assert_close(sample.images, batch.images.contiguous(), rtol=0, atol=0.02)
    loss = model.spec.loss(TrainParams(), torch.device("cpu"))
    expected = taylor_scores(
        model, find_coupling(model), [(sample.images, batch.targets)], lambda m, b: loss(m(b[0]), b[1])[0]
    )
    assert found is not None
    for path, values in expected.items():
        np.testing.assert_allclose(found[path], values, rtol=1e-3, atol=1e-4)
    save_model(model, tmp_path / "m.safetensors")
    words = ["prune", str(tmp_path / "m.safetensors"), "--percent", "10", "--importance", "taylor", "--no-fit"]
    result = runner.invoke(app, [*words, "--data", str(tmp_path / "voc"), "--images", "4"])
    assert result.exit_code == 0, result.output


def test_more_threads_than_cores_are_not_started(stored: Path, caplog: pytest.LogCaptureFixture) -> None:
    for command in ("prune", "eval", "detect", "speed"):
        cores._tell.cache_clear()
        caplog.clear()
        runner.invoke(app, [command, str(stored), *([] if command == "prune" else ["nowhere"]), "--threads", "999"])
        assert f"--threads is 999, but this process may use {cores.usable_cores()} core(s)" in caplog.text


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
        (["--importance", "taylor"], PruneError, "taylor needs training images with boxes: add --data FOLDER"),
        (["--importance", "activation"], PruneError, "activation needs training images: add --data FOLDER"),
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
