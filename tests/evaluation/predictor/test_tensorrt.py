"""The predictor on a fake of TensorRT and its GPU; on a real one test_contract.py runs it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.deploy.models import tiny_detector
from tests.evaluation.predictor import fake_tensorrt
from tests.evaluation.predictor.fake_tensorrt import load_fake_tensorrt
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.evaluation.predictor.tensorrt import TensorRtPredictor

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
MODEL = tiny_detector()


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    with pytest.MonkeyPatch.context() as patch:
        load_fake_tensorrt(patch)
        export_model(MODEL, folder / "one", file_format="tensorrt")
        export_model(MODEL, folder / "open", ExportOptions(batch=0), "tensorrt")
    return folder


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    load_fake_tensorrt(monkeypatch)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("kind", "most"), [("one", 1), ("open", 32)])
def test_images_go_in_portions_that_the_engine_takes(
    kind: str, most: int, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    run = fake_tensorrt.Context.execute_async_v3

    def noted(self: fake_tensorrt.Context, stream: int) -> bool:
        sizes.append(self.batch)
        return run(self, stream)

    monkeypatch.setattr(fake_tensorrt.Context, "execute_async_v3", noted)
    predictor = open_predictor(engines / kind)
    assert (predictor.backend, predictor.preprocessing) == ("tensorrt-cuda", "float/255")
    found, wanted = predictor.predict(IMAGES), TorchPredictor(MODEL).predict(IMAGES)
    for level, truth in zip(found, wanted, strict=True):
        np.testing.assert_allclose(level, truth, rtol=0, atol=1e-4)
    assert sizes == ([1] * 40 if most == 1 else [32, 8])


@pytest.mark.usefixtures("fake")
def test_an_engine_of_another_gpu_is_named_with_the_way_out(engines: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.engine"
    path.write_bytes(b"of TensorRT 8")
    with pytest.raises(DeployError) as caught:
        TensorRtPredictor(path, load_manifest(engines / "one"))
    assert "yoloslim export MODEL --format tensorrt" in str(caught.value)
    assert str(caught.value).endswith("TensorRT: Serialization assertion failed: Version tag does not match.")


@pytest.mark.usefixtures("fake")
def test_a_manifest_of_another_engine_is_refused(engines: Path) -> None:
    other = load_manifest(engines / "one").model_copy(update={"input_name": "pixels"})
    with pytest.raises(DeployError, match="lacks pixels; it has inputs \\['images'\\]"):
        TensorRtPredictor(engines / "one/model.engine", other)


@pytest.mark.usefixtures("fake")
def test_what_fails_on_the_gpu_is_told_with_its_reason(engines: Path) -> None:
    predictor = open_predictor(engines / "open")
    predictor.batch = 64
    with pytest.raises(DeployError, match=r"TensorRT failed to run .*: enqueueV3: batch 40, the profile has 32"):
        predictor.predict(IMAGES)


@pytest.mark.usefixtures("fake")
def test_threads_change_nothing_and_load_nothing_again(engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = open_predictor(engines / "one", threads=1)
    monkeypatch.setattr(TensorRtPredictor, "load", None)
    predictor.set_threads(2)
    assert len(predictor.predict(IMAGES[:1])) == 3


def test_without_the_package_or_a_gpu_it_says_so(engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DeployError, match=r"TensorRT is not installed .*; pip install 'yoloslim\[tensorrt\]'"):
        open_predictor(engines / "one")
    load_fake_tensorrt(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeployError, match="tensorrt needs an NVIDIA GPU that PyTorch can use, and there is none"):
        open_predictor(engines / "one")


@pytest.mark.usefixtures("fake")
def test_an_onnx_file_is_no_engine(engines: Path, tmp_path: Path) -> None:
    export_model(MODEL, tmp_path)
    with pytest.raises(DeployError, match=r"tensorrt does not read model.onnx, .* do; export the model for it"):
        open_predictor(tmp_path, "tensorrt")
