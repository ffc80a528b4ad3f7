"""One contract for every runtime. All run for real here but the two Ascend ones, which run on fakes.

Those whose files a toolchain makes need it installed (`yoloslim toolchain install litert`), and skip without;
TensorRT's need an NVIDIA GPU.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.deploy.ascend.fake_ais_bench import load_fake_ais_bench
from tests.deploy.models import tiny_detector
from tests.runner.test_acl_session import load_fake, make_om
from tests.toolchains import has_tensorrt, needs_tensorrt, needs_toolchain
from yoloslim.deploy.ascend.aipp import aipp_twin
from yoloslim.deploy.ascend.atc import AtcOptions, compile_model
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.rockchip.compilation import RknnOptions, compile_rknn
from yoloslim.deploy.runtimes import open_graph, open_predictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import OnnxPredictor, Predictor, divide_by_255
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector
from yoloslim.models.store import save_model
from yoloslim.toolchains import TOOLCHAINS, state_of

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Kind:
    """A way to run the model: what to open, how, and the error that is allowed as a share of the largest logit."""

    folder: str
    options: dict[str, str]
    backend: str
    tolerance: float = 1e-5
    preprocessing: str = "float/255"
    toolchain: str = ""


KINDS = {
    "pytorch": Kind("model.safetensors", {}, "pytorch-cpu"),
    "pytorch-bf16": Kind("model.safetensors", {"precision": "bf16"}, "pytorch-cpu-bf16", 0.05),
    "onnx": Kind("onnx", {}, "onnxruntime-cpu"),
    "onnx of open batch": Kind("open", {}, "onnxruntime-cpu"),
    "onnx of batch 2": Kind("two", {}, "onnxruntime-cpu"),
    "openvino": Kind("openvino", {}, "openvino-cpu"),
    "openvino reading onnx": Kind("onnx", {"runtime": "openvino"}, "openvino-cpu"),
    "openvino of open batch": Kind("open", {"runtime": "openvino"}, "openvino-cpu"),
    "openvino-fp16": Kind("openvino-fp16", {}, "openvino-cpu-fp16", 5e-3),
    "openvino-bf16": Kind("openvino", {"precision": "bf16"}, "openvino-cpu-bf16", 0.05),
    "ncnn": Kind("ncnn", {}, "ncnn-cpu"),
    "ncnn-fp16": Kind("ncnn-fp16", {}, "ncnn-cpu-fp16", 5e-3),
    "litert": Kind("litert", {}, "litert-cpu", toolchain="litert"),
    "litert-fp16": Kind("litert-fp16", {}, "litert-cpu-fp16", 5e-3, toolchain="litert"),
    "tensorrt": Kind("tensorrt", {}, "tensorrt-cuda", toolchain="tensorrt"),
    "tensorrt-fp16": Kind("tensorrt-fp16", {}, "tensorrt-cuda-fp16", 1e-2, toolchain="tensorrt"),
    "rknn": Kind("rockchip", {"runtime": "rknn"}, "rknn-simulator-fp16", 5e-3, "uint8/255 on the chip", "rockchip"),
    "acl": Kind("ascend", {"runtime": "acl"}, "ascend-acl", 5e-3, "aipp-rgb"),  # AIPP scales in float16
    "ais_bench": Kind("ascend", {"runtime": "ais_bench"}, "ascend-ais_bench", 5e-3, "aipp-rgb"),
}


@dataclass
class Exports:
    model: Detector
    root: Path
    opened: dict[str, Predictor] = field(default_factory=dict)

    def open(self, name: str) -> Predictor:
        """Each is loaded once: OpenVINO takes half a second to compile a graph."""
        if name not in self.opened:
            kind = KINDS[name]
            if kind.toolchain == "tensorrt":
                needs_tensorrt()
            elif kind.toolchain:
                needs_toolchain(kind.toolchain)
            try:
                self.opened[name] = open_predictor(self.root / kind.folder, threads=1, **kind.options)  # type: ignore[arg-type]
            except DeployError as error:
                if "computes in f32 on this CPU" not in str(error) or "bf16" in Path("/proc/cpuinfo").read_text():
                    raise
                pytest.skip(str(error))
        return self.opened[name]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exports]:
    root, model = tmp_path_factory.mktemp("exports"), tiny_detector()
    save_model(model, root / "model.safetensors")
    export_model(model, root / "onnx")
    export_model(model, root / "open", ExportOptions(batch=0))
    export_model(model, root / "two", ExportOptions(batch=2))
    for runtime in ("openvino", "ncnn"):
        export_model(model, root / runtime, file_format=runtime)
        export_model(model, root / f"{runtime}-fp16", file_format=runtime, weights="fp16")
    if state_of(TOOLCHAINS["litert"]).word == "installed":
        export_model(model, root / "litert", file_format="litert")
        export_model(model, root / "litert-fp16", file_format="litert", weights="fp16")
    if has_tensorrt():
        export_model(model, root / "tensorrt", ExportOptions(batch=0), "tensorrt")
        export_model(model, root / "tensorrt-fp16", file_format="tensorrt", weights="fp16")
    if state_of(TOOLCHAINS["rockchip"]).word == "installed":
        compile_rknn(root / "onnx", root / "rockchip", RknnOptions("rk3588"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
        compile_model(root / "open", root / "ascend", AtcOptions(aipp_input="rgb"))
        make_om(root / "open/model.onnx", root / "ascend", source="rgb")
        load_fake(patch)
        manifest = load_manifest(root / "open")
        load_fake_ais_bench(patch, OnnxPredictor(root / "open/model.onnx", manifest, 1, aipp_twin("rgb")))
        yield Exports(model, root)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_every_predictor_gives_the_models_logits(kind: str, count: int, exports: Exports) -> None:
    with torch.no_grad():
        batch = torch.from_numpy(IMAGES[:count]).permute(0, 3, 1, 2).float() / 255
        expected = exports.model(batch)
    actual = exports.open(kind).predict(IMAGES[:count])
    assert [a.shape for a in actual] == [(count, 3, s, s, 8) for s in (8, 4, 2)]
    scale = max(float(e.abs().max()) for e in expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, e.numpy(), rtol=0, atol=KINDS[kind].tolerance * scale)


@pytest.mark.parametrize(("runtime", "file"), [("openvino", "model.bin"), ("ncnn", "model.ncnn.bin")])
def test_weights_in_fp16_take_half_of_the_room(runtime: str, file: str, exports: Exports) -> None:
    half, whole = ((exports.root / folder / file).stat().st_size for folder in (f"{runtime}-fp16", runtime))
    assert 0.49 < half / whole < 0.55


def test_openvino_computes_in_bf16_only_when_asked(exports: Exports) -> None:
    exact = exports.open("onnx").predict(IMAGES)[0]
    fp32, bf16 = (np.abs(exports.open(k).predict(IMAGES)[0] - exact).max() for k in ("openvino", "openvino-bf16"))
    assert fp32 < 1e-4
    assert bf16 > 20 * fp32


@pytest.mark.parametrize("kind", KINDS)
def test_every_predictor_says_what_it_is(kind: str, exports: Exports) -> None:
    predictor = exports.open(kind)
    assert predictor.backend == KINDS[kind].backend
    assert predictor.preprocessing == KINDS[kind].preprocessing
    assert (predictor.imgsz, tuple(predictor.classes), predictor.head.strides) == (64, ("a", "b", "c"), (8, 16, 32))
    assert predictor.head == exports.model.spec.head


@pytest.mark.parametrize("kind", KINDS)
def test_read_only_and_strided_images_are_accepted_and_not_changed(kind: str, exports: Exports) -> None:
    locked = IMAGES.copy()
    locked.setflags(write=False)
    predictor = exports.open(kind)
    plain = predictor.predict(IMAGES[::2])
    for a, b in zip(predictor.predict(locked[::2]), plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_array_equal(locked, IMAGES)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_size_or_type_are_refused(kind: str, exports: Exports) -> None:
    message = rf"{KINDS[kind].backend} model takes uint8 images \(batch, 64, 64, 3\), not"
    for images in (IMAGES[:, :32], IMAGES[0], IMAGES[:0], IMAGES[..., :1], IMAGES.astype(np.float32) / 255):
        with pytest.raises(DeployError, match=message):
            exports.open(kind).predict(images)


@pytest.mark.parametrize("kind", ["pytorch", "onnx", "openvino", "ncnn", "litert"])
def test_changing_threads_keeps_the_result(kind: str, exports: Exports) -> None:
    predictor = exports.open(kind)
    before = predictor.predict(IMAGES)
    predictor.set_threads(2)
    after = predictor.predict(IMAGES)
    predictor.set_threads(1)  # PyTorch keeps it for the process
    for a, b in zip(after, before, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_results_of_a_call_outlive_the_next(kind: str, exports: Exports) -> None:
    predictor = exports.open(kind)
    first = predictor.predict(IMAGES[:1])
    copies = [head.copy() for head in first]
    predictor.predict(IMAGES[1:2])
    for head, copy in zip(first, copies, strict=True):
        np.testing.assert_array_equal(head, copy)


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
    assert out.dtype == np.float32
    assert out.ravel().tolist() == [0.0, np.float32(128 / 255), 1.0]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "ncnn", "litert"])
def test_a_manifest_of_another_graph_is_refused(runtime: str, exports: Exports) -> None:
    if runtime == "litert":
        needs_toolchain(runtime)
    folder = exports.root / (runtime if runtime != "onnxruntime" else "onnx")
    manifest = load_manifest(folder)
    with pytest.raises(DeployError, match=r"lacks pictures; it has inputs \['images'\]"):
        open_graph(folder / manifest.file, manifest.model_copy(update={"input_name": "pictures"}))
    with pytest.raises(DeployError, match=r"takes images \[1, 3, 64, 64\], its manifest says \(3, 96, 96\)"):
        open_graph(folder / manifest.file, manifest.model_copy(update={"input_shape": (1, 3, 96, 96)}))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "ncnn", "litert"])
def test_a_file_that_is_no_graph_is_refused(runtime: str, exports: Exports, tmp_path: Path) -> None:
    if runtime == "litert":
        needs_toolchain(runtime)
    folder = exports.root / (runtime if runtime != "onnxruntime" else "onnx")
    manifest = load_manifest(folder)
    for name in manifest.files:
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:1000])
    with pytest.raises(DeployError, match=f"{runtime}-cpu cannot load .*{manifest.file}"):
        open_graph(tmp_path / manifest.file, manifest)
    (tmp_path / manifest.file).unlink()
    with pytest.raises(DeployError, match="there is no such file"):
        open_graph(tmp_path / manifest.file, manifest)


def test_litert_that_is_not_installed_is_said_with_the_command(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.tflite").write_bytes(b"\0\0\0\0TFL3")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(DeployError, match=r"LiteRT is not installed .*; pip install 'yoloslim\[litert\]'"):
        open_graph(tmp_path / "model.tflite", load_manifest(exports.root / "onnx"))
