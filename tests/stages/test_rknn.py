from pathlib import Path

import numpy as np
import pytest
import torch

from tests.results.made import data
from tests.tiny import shake_norms
from tests.toolchains import needs_toolchain
from yoloslim.boxes import fit
from yoloslim.config import Params, parse_params
from yoloslim.data.evalset import EvalSet
from yoloslim.data.voc import annotation_from, load_split
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.rockchip.twin import save_int8
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import OnnxPredictor
from yoloslim.files import read_json
from yoloslim.models.detector import build_detector
from yoloslim.stages import rknn, rknn_eval

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)


TRUTH = annotation_from(100, 60, [[10, 10, 50, 50]], [1], [False], [False])
SET = EvalSet(("a", "b"), ("0", "1", "2"), IMAGES[:3], (fit(100, 60, 64),) * 3, (TRUTH,) * 3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one exported model; the stages are given these images."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = build_detector("yolov5n", ("a", "b"), imgsz=64).eval()
    shake_norms(model)
    with torch.no_grad():
        for head in model.model[-1].m:  # type: ignore[union-attr]
            head.weight.mul_(50)  # else what int8 costs drowns in the rounding of the heads, which are fp16
            head.bias.zero_()
    export_model(model, Path("models/export/50"))
    monkeypatch.setattr(rknn, "training_sample", sample)
    return tmp_path


def sample(params: Params, count: int) -> np.ndarray:
    return IMAGES[:count]


def test_chips_are_checked_before_any_work(folder: Path) -> None:
    params = parse_params({"rknn": {"target": "rv1106", "precisions": ["int8", "fp16"]}})
    with pytest.raises(DeployError, match="rv1106 computes in int8 only"):
        rknn.run(params, "50")
    assert not (folder / "models/rknn").exists()


def the_twin_is_the_simulator(npu: Path) -> None:
    """What int8 changes in the outputs of a whole network is the same in both, to a tenth of its size."""
    save_int8(npu / "model.onnx", npu / "quantized.cfg", npu / "twin.onnx")
    graphs = (npu / "model.onnx", npu / "twin.onnx")
    exact, twin = (OnnxPredictor(path, load_manifest(npu), 1).predict(IMAGES[:4]) for path in graphs)
    simulated = open_predictor(npu, "rknn").predict(IMAGES[:4])
    for a, b, c in zip(exact, twin, simulated, strict=True):
        assert np.abs(b - c).mean() < 0.1 * np.abs(a - c).mean()
        assert np.corrcoef((b - a).ravel(), (c - a).ravel())[0, 1] > 0.99


@pytest.mark.slow
def test_every_precision_is_compiled_and_judged_on_the_images_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_toolchain("rockchip")
    data(folder / "data/voc")
    monkeypatch.setattr(rknn_eval, "eval_set", lambda params, split: SET)
    monkeypatch.setattr(rknn_eval, "prepared_split", lambda name: load_split(folder / "data/voc", name))
    raw = {
        "rknn": {"target": "rk3588", "precisions": ["fp16", "int8"]},
        "rknn_eval": {"images": 2, "twin_images": 2},
    }
    rknn.run(parse_params(raw), "50")
    rknn_eval.run(parse_params(raw), "50")
    found = read_json(folder / "metrics/rknn_eval/50.json")
    assert {name: (each["backend"], each["chip"], each["images"]) for name, each in found.items()} == {
        "fp16": ("rknn-simulator-fp16", "rk3588", 2),
        "int8": ("rknn-simulator-int8", "rk3588", 2),
    }
    for name, each in found.items():
        result = read_json(folder / "models/rknn/50" / name / "rknn.json")
        assert (result["precision"], result["calibration_images"]) == (name, 0 if name == "fp16" else 16)
        assert (each["weight_kb"], each["size_mb"]) == (result["weight_kb"], result["size_mb"])
        assert each["twin"]["reference"]["images"] == 2
    assert list(found["fp16"]["twin"]) == ["reference", "board"]
    assert list(found["int8"]["twin"]) == ["reference", "weights", "activations", "board"]
    the_twin_is_the_simulator(folder / "models/rknn/50/int8")
    raw["rknn"]["target"] = "rk3568"
    with pytest.raises(DeployError, match="was compiled for rk3588 and does not load on rk3568"):
        rknn_eval.run(parse_params(raw), "50")
