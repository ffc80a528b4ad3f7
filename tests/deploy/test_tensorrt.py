"""Engines built by a fake of TensorRT, which refuses what it refuses; a real one needs an NVIDIA GPU."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from tests.campaigns.combinations import ALLOWED, Combination, difference
from tests.deploy.models import tiny_detector
from tests.evaluation.predictor.fake_tensorrt import MARK, load_fake_tensorrt
from yoloslim.cli import app
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import quantize
from yoloslim.deploy.onnx import ExportOptions, onnx_graph
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.deploy.tensorrt import ENGINE, in_fp16, write_engine
from yoloslim.errors import DeployError
from yoloslim.models.store import save_model

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
MODEL = tiny_detector()


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    load_fake_tensorrt(monkeypatch)


def graph_of(engine: Path) -> onnx.ModelProto:
    return onnx.load_from_string(engine.read_bytes().removeprefix(MARK).split(b"\n", 1)[1])


def test_the_commands_write_engines_at_fp32_fp16_and_int8(tmp_path: Path) -> None:
    model, pictures = tmp_path / "model.safetensors", tmp_path / "pictures"
    save_model(MODEL, model)
    pictures.mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(pictures / f"{number}.png")
    typed = (
        f"export {model} --format tensorrt --out {tmp_path / 'fp32'}",
        f"export {model} --format tensorrt --weights fp16 --out {tmp_path / 'fp16'}",
        f"export {model} --out {tmp_path / 'onnx'}",
        f"quantize {tmp_path / 'onnx'} {pictures} --runtime tensorrt --out {tmp_path / 'int8'}",
    )
    for words in typed:
        done = CliRunner().invoke(app, words.split(), catch_exceptions=False)
        assert done.exit_code == 0, done.output
    wanted = open_predictor(tmp_path / "onnx").predict(IMAGES)
    for folder, backend, most in (
        ("fp32", "tensorrt-cuda", 1e-5),
        ("fp16", "tensorrt-cuda-fp16", 1e-2),
        ("int8", "tensorrt-cuda-int8", 0.2),
    ):
        predictor = open_predictor(tmp_path / folder)
        assert predictor.backend == backend
        for found, truth in zip(predictor.predict(IMAGES), wanted, strict=True):
            assert np.abs(found - truth).max() < most * np.abs(truth).max()


@pytest.mark.parametrize(
    "one", [Combination("tensorrt", "yolo26n", "int8"), Combination("tensorrt", "yolov8n", "fp16")], ids=str
)
def test_other_heads_have_engines_too(one: Combination, tmp_path: Path) -> None:
    assert difference(one, tmp_path) <= ALLOWED[one.precision]


def test_fp16_computes_all_in_fp16_between_an_input_and_outputs_in_fp32() -> None:
    graph = in_fp16(onnx_graph(MODEL, ExportOptions()))
    assert {
        each.data_type for each in graph.graph.initializer if each.dims and each.data_type != TensorProto.INT64
    } == {TensorProto.FLOAT16}
    ends = [*graph.graph.input, *graph.graph.output]
    assert {each.type.tensor_type.elem_type for each in ends} == {TensorProto.FLOAT}


def test_int8_is_what_convolutions_read_but_the_heads(tmp_path: Path) -> None:
    export_model(MODEL, tmp_path / "onnx")
    quantize(tmp_path / "onnx", IMAGES, tmp_path / "int8", "tensorrt")
    graph = graph_of(tmp_path / "int8" / ENGINE).graph
    made = {name: node for node in graph.node for name in node.output}
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    quantized = [node for node in convs if node.input[1] in made and made[node.input[1]].op_type == "DequantizeLinear"]
    assert len(convs) - len(quantized) == 3  # the heads stay fp32
    for node in quantized:
        assert made[node.input[0]].op_type == "DequantizeLinear"
        assert constants[node.input[2]].dtype == np.float32
        scales = constants[made[node.input[1]].input[1]]
        assert scales.shape == (len(constants[node.input[2]]),)  # by channel
    read = {name for node in convs for name in node.input}
    rounded = [node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"]
    assert [name for name in rounded if name not in read] == []  # others read in 8 bits what a convolution reads, too


def test_int8_of_an_open_batch_takes_any_number(tmp_path: Path) -> None:
    export_model(MODEL, tmp_path / "onnx", ExportOptions(batch=0))
    assert quantize(tmp_path / "onnx", IMAGES, tmp_path / "int8", "tensorrt").input_shape == (-1, 3, 64, 64)
    predictor = open_predictor(tmp_path / "int8")
    many, one = predictor.predict(IMAGES), predictor.predict(IMAGES[2:3])
    np.testing.assert_allclose(many[0][2:3], one[0], rtol=0, atol=1e-5)


def test_what_tensorrt_does_not_take_is_told_with_its_words(tmp_path: Path) -> None:
    node = helper.make_node("Mystery", ["images"], ["out"], name="mystery_1", domain="example.org")
    images, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 64, 64)) for name in ("images", "out"))
    graph = helper.make_model(helper.make_graph([node], "g", [images], [out]))
    with pytest.raises(DeployError) as caught:
        write_engine(graph, tmp_path)
    assert str(caught.value) == (
        "TensorRT does not take the graph: node mystery_1: no importer registered for op Mystery"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_on_which_it_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt

    def refuses(log: tensorrt.ILogger) -> None:
        log.log(tensorrt.ILogger.Severity.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(tensorrt, "Builder", refuses)
    with pytest.raises(DeployError, match="does not start on this GPU: CUDA initialization failure with error: 35"):
        write_engine(onnx_graph(MODEL, ExportOptions()), tmp_path)


def test_other_outputs_than_raw_heads_have_no_engine(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="outputs 'decoded' exist for onnx only"):
        export_model(MODEL, tmp_path, ExportOptions(outputs="decoded"), "tensorrt")
