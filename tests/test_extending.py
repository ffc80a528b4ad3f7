"""Every example of docs/extending.md, run."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import yoloslim
from tests.tiny import tiny_detector, tiny_spec
from tests.training.test_fit import task
from yoloslim.config import parse_params
from yoloslim.data.prepare import prepare
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import RUNTIMES, open_predictor
from yoloslim.evaluation.nms import NmsOptions, decode, detect
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.files import read_json
from yoloslim.heads import HEADS
from yoloslim.models.detector import Detector, count_params
from yoloslim.models.spec import ModelSpec
from yoloslim.models.store import load_model, save_model
from yoloslim.models.zoo import read_family
from yoloslim.runner import heads as decoders
from yoloslim.training.fit import fit

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
PYTHON = {text.split("\n", 1)[0].lstrip("# "): text for text in re.findall(r"```python\n(.*?)```", PAGE, re.S)}
YAML = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def square(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """The example's head, as if its files lay where their first lines say."""
    for name in ("square", "square_network"):
        (tmp_path / f"{name}.py").write_text(PYTHON[f"heads/{name}.py"], encoding="utf-8")
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "square.py").write_text(PYTHON["runner/heads/square.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(decoders, "__path__", [*decoders.__path__, str(tmp_path / "board")])
    names: dict[str, type] = {}
    exec(PYTHON["heads/__init__.py"], names)
    yield names["SquareHead"]
    del HEADS["square"]
    for name in ("square", "square_network", "yoloslim.runner.heads.square"):
        sys.modules.pop(name, None)


def detector_of(square: type) -> Detector:
    torch.manual_seed(0)
    plain = tiny_spec().model_dump() | {"head": {"kind": "square", "strides": [8, 16, 32]}}
    return Detector(ModelSpec.model_validate(plain))


def test_an_architecture_builds() -> None:
    family = read_family(YAML[0], "example.yaml")
    model = Detector(family.spec("tiny8", ("a", "b"), 64))
    assert [tuple(output.shape) for output in model(torch.zeros(1, 3, 64, 64))] == [(1, 2, 8, 8, 7), (1, 2, 4, 4, 7)]


def test_a_head_trains_is_saved_detects_and_is_exported(square: type, tmp_path: Path) -> None:
    result = fit(task(4, model=detector_of(square)))
    assert set(result.history[0]) >= {"box_loss", "cls_loss", "loss"}
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    save_model(result.model, tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors")
    assert type(model.spec.head) is square
    predictor = TorchPredictor(model)
    found = detect(predictor.predict(IMAGES), predictor.head, NmsOptions(conf_thres=0.01))
    assert all(len(rows) and np.isfinite(rows).all() for rows in found)
    with torch.no_grad():
        tensors = model.spec.head.decode([torch.from_numpy(o) for o in predictor.predict(IMAGES)], 2, 64)
    for array, tensor in zip(decode(predictor.predict(IMAGES), predictor.head), tensors, strict=True):
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-4, atol=1e-3)
    manifest = export_model(model, tmp_path / "raw")
    assert manifest.head_names == ("head_p3", "head_p4", "head_p5")
    again = open_predictor(tmp_path / "raw")
    assert again.head == model.spec.head
    for mine, theirs in zip(again.predict(IMAGES), predictor.predict(IMAGES), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    export_model(model, tmp_path / "decoded", ExportOptions(outputs="decoded"))


def test_a_runtime_runs_an_export(tmp_path: Path) -> None:
    exec(PYTHON["deploy/runtimes/reference.py"], {})
    try:
        export_model(tiny_detector(), tmp_path)
        mine, usual = open_predictor(tmp_path, "reference"), open_predictor(tmp_path)
        assert mine.backend == "onnx-reference"
        for a, b in zip(mine.predict(IMAGES), usual.predict(IMAGES), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
    finally:
        del RUNTIMES["reference"]


def test_a_layout_is_found_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from yoloslim.config.data import SOURCES
    from yoloslim.data import layouts

    monkeypatch.setattr(layouts, "_READERS", dict(layouts._READERS))
    monkeypatch.delitem(SOURCES, "text", raising=False)
    exec(PYTHON["data/layouts/text.py"], {})
    (tmp_path / "set").mkdir()
    for number, image in enumerate(np.random.default_rng(1).integers(0, 256, (6, 48, 48, 3), dtype=np.uint8)):
        cv2.imwrite(str(tmp_path / "set" / f"{number}.png"), image)
    (tmp_path / "set/boxes.txt").write_text("".join(f"{number} cat 4 4 20 30\n" for number in range(6)))
    # by its name, as by `auto`
    for source in ("text", "auto"):
        params = parse_params({"data": {"source": source, "path": str(tmp_path / "set")}}).data
        report = prepare(params, tmp_path / source)
        assert (report["classes"], sum(report["images"].values())) == (["cat"], 6)
    del SOURCES["text"]


def test_an_importance_and_an_operation_are_taught() -> None:
    exec(PYTHON["spread.py"], {})

    class Logarithmic(torch.nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[1](torch.special.log_ndtr(self[0](x)))

    network = Logarithmic(torch.nn.Conv2d(3, 16, 3), torch.nn.Conv2d(16, 2, 1))
    pruned = yoloslim.prune(network, torch.rand(1, 3, 8, 8), importance="spread")
    assert pruned.model[0].out_channels == 8
    kept = network[0].weight.flatten(1).std(1).topk(8).indices.sort().values
    assert torch.equal(pruned.cut[0].weight, network[0].weight[kept])


def test_a_stage_writes_its_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "baseline").mkdir(parents=True)
    save_model(tiny_detector(), tmp_path / "models" / "baseline" / "model.safetensors")
    names: dict[str, object] = {}
    exec(PYTHON["stages/sizes.py"], names)
    names["run"](None)  # type: ignore[operator]
    assert read_json(tmp_path / "metrics" / "sizes.json") == {
        "models/baseline/model.safetensors": count_params(tiny_detector())
    }
    assert yaml.safe_load(YAML[1])["sizes"]["deps"] == ["code/sizes.txt", "models/baseline"]
