from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.deploy.models import tiny_detector
from tests.toolchains import needs_tensorrt, needs_toolchain
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import calibration_images, quantize
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import int8_runtimes, open_predictor
from yoloslim.errors import DataError, DeployError
from yoloslim.runner.pictures import write_picture
from yoloslim.toolchains import TOOLCHAINS

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)


def needs_toolchain_of(runtime: str) -> None:
    if runtime in TOOLCHAINS:
        needs_toolchain(runtime)
    if runtime == "tensorrt":
        needs_tensorrt()


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_model(tiny_detector(), folder)
    return folder


@pytest.mark.parametrize(
    "runtime", [pytest.param(r, marks=pytest.mark.slow if r in ("openvino", "litert") else ()) for r in int8_runtimes()]
)
def test_an_int8_version_is_near_its_model_and_smaller(runtime: str, export: Path, tmp_path: Path) -> None:
    needs_toolchain_of(runtime)
    manifest = quantize(export, IMAGES, tmp_path, runtime)
    assert manifest == load_manifest(tmp_path)
    assert manifest.precision == "int8"
    version, original = open_predictor(tmp_path, threads=1), open_predictor(export, threads=1)
    assert version.backend == f"{runtime}-{'cuda' if runtime == 'tensorrt' else 'cpu'}-int8"
    assert version.classes == original.classes
    after, before = version.predict(IMAGES[:4]), original.predict(IMAGES[:4])
    errors = [np.abs(a - b) for a, b in zip(after, before, strict=True)]
    assert manifest.max_abs_diff == pytest.approx(max(e.max() for e in errors), abs=1e-4)
    for error, head in zip(errors, before, strict=True):
        assert 0 < error.mean() < 0.05 * np.abs(head).mean()
    weights = [(tmp_path / name).stat().st_size for name in manifest.files]
    assert max(weights) < 0.5 * (export / "model.onnx").stat().st_size


@pytest.mark.parametrize(
    ("opset", "written"),
    [(11, 13), pytest.param(13, 13, marks=pytest.mark.slow), (17, 17), pytest.param(18, 18, marks=pytest.mark.slow)],
)
def test_graphs_of_every_opset_are_quantised_and_the_manifest_says_what_was_written(
    opset: int, written: int, export: Path, tmp_path: Path
) -> None:
    source = export if opset == 11 else tmp_path / "export"
    if opset != 11:
        export_model(tiny_detector(), source, ExportOptions(opset=opset))
    manifest = quantize(source, IMAGES, tmp_path / "int8", "onnxruntime")
    graph = onnx.load(tmp_path / "int8/model.onnx")
    assert {item.version for item in graph.opset_import if item.domain == ""} == {written} == {manifest.opset}
    heads, wanted = (open_predictor(folder, threads=1).predict(IMAGES) for folder in (tmp_path / "int8", source))
    for a, b in zip(heads, wanted, strict=True):
        assert 0 < np.abs(a - b).mean() < 0.05 * np.abs(b).mean()


def test_the_heads_stay_fp32_in_onnx(export: Path, tmp_path: Path) -> None:
    quantize(export, IMAGES, tmp_path, "onnxruntime")
    graph = onnx.load(tmp_path / "model.onnx").graph
    makers = {output: node for node in graph.node for output in node.output}
    integers = {weight.name for weight in graph.initializer if weight.data_type == onnx.TensorProto.INT8}
    for output in graph.output:
        node = makers[output.name]
        while node.op_type != "Conv":
            node = makers[node.input[0]]
        assert node.input[1] not in makers  # a plain fp32 weight, nothing dequantised
    assert len(integers) > 50


def test_missing_calibration_images_are_said(export: Path, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"^onnxruntime-int8 needs calibration images.*a hundred or more"):
        quantize(export, IMAGES[:0], tmp_path / "out", "onnxruntime")
    with pytest.raises(DeployError, match=r"holds no pictures \(\.jpg"):
        calibration_images(tmp_path, export, 8)
    assert not (tmp_path / "out").exists()
    (tmp_path / "set/JPEGImages").mkdir(parents=True)
    write_picture(tmp_path / "set/JPEGImages/a.png", IMAGES[0])
    with pytest.raises(DeployError, match=r"set holds no pictures .*to calibrate with; .*set/JPEGImages does$"):
        calibration_images(tmp_path / "set", export, 8)


def test_files_that_are_no_calibration_images_are_told_or_refused(
    export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(tmp_path / "a.png", IMAGES[0])
    for name in ("notes.txt", "._a.png", ".DS_Store"):
        (tmp_path / name).touch()
    np.testing.assert_array_equal(calibration_images(tmp_path, export, 8), IMAGES[:1])
    assert "1 file(s) left out, no pictures that are read: notes.txt" in caplog.text
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.jpg \(10 bytes\) is no image that can be decoded"):
        calibration_images(tmp_path, export, 8)


def test_calibration_images_of_another_size_are_refused(export: Path, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"takes uint8 images \(batch, 64, 64, 3\)"):
        quantize(export, IMAGES[:, :32], tmp_path, "onnxruntime")


@pytest.mark.parametrize(
    "runtime", [pytest.param(r, marks=pytest.mark.slow if r in ("openvino", "litert") else ()) for r in int8_runtimes()]
)
def test_an_export_of_open_batch_gives_the_same_for_one_image(runtime: str, export: Path, tmp_path: Path) -> None:
    needs_toolchain_of(runtime)
    export_model(tiny_detector(), tmp_path / "open", ExportOptions(batch=0))
    manifest = quantize(tmp_path / "open", IMAGES, tmp_path / "int8", runtime)
    assert manifest.input_shape == (1, 3, 64, 64)
    quantize(export, IMAGES, tmp_path / "plain", runtime)
    heads, wanted = (open_predictor(tmp_path / name, threads=1).predict(IMAGES) for name in ("int8", "plain"))
    for a, b in zip(heads, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(("count", "said"), [(1, True), (16, False)])
def test_few_calibration_images_are_said(
    count: int, said: bool, export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quantize(export, np.concatenate([IMAGES, IMAGES])[:count], tmp_path, "onnxruntime")
    assert ("onnxruntime-int8 is calibrated on 1 image: ranges may be too narrow" in caplog.text) is said
    assert load_manifest(tmp_path).calibration_images == count


@pytest.mark.slow
def test_the_heads_and_the_input_of_litert_stay_fp32_and_nchw(export: Path, tmp_path: Path) -> None:
    needs_toolchain("litert")
    from ai_edge_litert.interpreter import Interpreter

    quantize(export, IMAGES, tmp_path, "litert")
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    (image,) = interpreter.get_input_details()
    assert (image["name"], image["shape"].tolist(), image["dtype"]) == ("images", [1, 3, 64, 64], np.float32)
    outputs = {each["name"]: (each["shape"].tolist(), each["dtype"]) for each in interpreter.get_output_details()}
    assert outputs == {f"head_p{n}": ([1, 3, s, s, 8], np.float32) for n, s in ((3, 8), (4, 4), (5, 2))}
    scales = [(t["dtype"], len(t["quantization_parameters"]["scales"])) for t in interpreter.get_tensor_details()]
    by_channel = [kind for kind, count in scales if count > 1]
    assert len(by_channel) > 50
    assert set(by_channel) <= {np.int8, np.int32}  # weights and biases


def test_only_plain_exports_are_quantised(export: Path, tmp_path: Path) -> None:
    export_model(tiny_detector(), tmp_path / "two", ExportOptions(batch=2))
    quantize(export, IMAGES, tmp_path / "int8", "onnxruntime")
    for name in ("two", "int8"):
        with pytest.raises(DeployError, match="quantisation starts from an fp32 ONNX export"):
            quantize(tmp_path / name, IMAGES, tmp_path / "out", "onnxruntime")
