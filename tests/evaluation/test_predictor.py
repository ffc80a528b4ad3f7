from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.deploy.models import tiny_detector
from yoloslim.deploy.manifest import Manifest
from yoloslim.deploy.onnx import export_onnx
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import OnnxPredictor, Predictor, TorchPredictor, divide_by_255
from yoloslim.models.detector import Detector

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@dataclass
class Exported:
    model: Detector
    path: Path
    manifest: Manifest


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder, model = tmp_path_factory.mktemp("export"), tiny_detector()
    return Exported(model, folder / "model.onnx", export_onnx(model, folder))


def make(kind: str, exported: Exported) -> Predictor:
    if kind == "onnx":
        return OnnxPredictor(exported.path, exported.manifest, threads=1)
    return TorchPredictor(exported.model, precision="bf16" if kind == "torch-bf16" else "fp32")


KINDS = ["torch", "torch-bf16", "onnx"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_every_predictor_gives_the_models_logits(kind: str, count: int, exported: Exported) -> None:
    with torch.no_grad():
        batch = torch.from_numpy(IMAGES[:count]).permute(0, 3, 1, 2).float() / 255
        expected = exported.model(batch)
    actual = make(kind, exported).predict(IMAGES[:count])
    assert [a.shape for a in actual] == [(count, 3, s, s, 8) for s in (8, 4, 2)]
    scale = max(float(e.abs().max()) for e in expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, e.numpy(), atol=0.05 * scale if kind == "torch-bf16" else 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_predictor_says_what_it_is(kind: str, exported: Exported) -> None:
    predictor = make(kind, exported)
    expected = {"torch": "pytorch-cpu", "torch-bf16": "pytorch-cpu-bf16", "onnx": "onnxruntime-cpu"}
    assert predictor.backend == expected[kind]
    assert predictor.preprocessing == "float/255"
    assert (predictor.imgsz, tuple(predictor.classes), tuple(predictor.strides)) == (64, ("a", "b", "c"), (8, 16, 32))
    assert predictor.anchors == exported.model.spec.anchors


@pytest.mark.parametrize("kind", KINDS)
def test_read_only_and_strided_images_are_accepted_and_not_changed(kind: str, exported: Exported) -> None:
    locked = IMAGES.copy()
    locked.setflags(write=False)
    predictor = make(kind, exported)
    plain = predictor.predict(IMAGES[::2])
    for a, b in zip(predictor.predict(locked[::2]), plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_array_equal(locked, IMAGES)


def test_the_torch_predictor_leaves_the_model_alone() -> None:
    model = tiny_detector().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    TorchPredictor(model).predict(IMAGES)
    assert model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_division_by_255_is_exact_at_both_ends() -> None:
    out = divide_by_255(np.array([[[[0, 128, 255]]]], np.uint8))
    assert out.shape == (1, 3, 1, 1)
    assert out.ravel().tolist() == [0.0, np.float32(128 / 255), 1.0]


def test_changing_threads_keeps_the_result(exported: Exported) -> None:
    predictor = make("onnx", exported)
    before = predictor.predict(IMAGES)
    predictor.set_threads(2)
    for a, b in zip(predictor.predict(IMAGES), before, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_manifest_of_another_graph_is_refused(exported: Exported) -> None:
    other = exported.manifest.model_copy(update={"input_name": "pictures"})
    with pytest.raises(DeployError, match=r"lacks pictures; it has inputs \['images'\]"):
        OnnxPredictor(exported.path, other)


def test_a_file_that_is_no_graph_is_refused(exported: Exported, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.path.read_bytes()[:1000])
    with pytest.raises(DeployError, match=r"cannot load .*broken\.onnx"):
        OnnxPredictor(broken, exported.manifest)
    with pytest.raises(DeployError, match=r"cannot load .*absent\.onnx"):
        OnnxPredictor(tmp_path / "absent.onnx", exported.manifest)
