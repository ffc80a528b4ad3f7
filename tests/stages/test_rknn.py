from pathlib import Path

import numpy as np
import pytest

from tests.tiny import shake_norms, tiny_detector
from tests.toolchains import needs_toolchain
from yoloslim.boxes import fit
from yoloslim.config import Params, parse_params
from yoloslim.data.evalset import EvalSet
from yoloslim.data.voc import annotation_from
from yoloslim.deploy.export_model import export_model
from yoloslim.errors import DeployError
from yoloslim.files import read_json
from yoloslim.stages import rknn, rknn_eval

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)


TRUTH = annotation_from(100, 60, [[10, 10, 50, 50]], [1], [False], [False])
SET = EvalSet(("a", "b"), ("0", "1", "2"), IMAGES[:3], (fit(100, 60, 64),) * 3, (TRUTH,) * 3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one exported model; the stages are given these images."""
    monkeypatch.chdir(tmp_path)
    model = tiny_detector(imgsz=64).eval()
    shake_norms(model)
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


@pytest.mark.slow
def test_every_precision_is_compiled_and_judged_on_the_images_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_toolchain("rockchip")
    monkeypatch.setattr(rknn_eval, "eval_set", lambda params, split: SET)
    raw = {"rknn": {"target": "rk3588", "precisions": ["fp16", "int8"]}, "rknn_eval": {"images": 2}}
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
    raw["rknn"]["target"] = "rk3568"
    with pytest.raises(DeployError, match="was compiled for rk3588 and does not load on rk3568"):
        rknn_eval.run(parse_params(raw), "50")
