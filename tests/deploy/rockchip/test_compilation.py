"""Refusals need no toolchain; what is compiled and simulated needs it, and is skipped without."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner

from tests.tiny import shake_norms, tiny_detector
from tests.toolchains import needs_toolchain
from yoloslim.cli import app
from yoloslim.deploy.describe import read_onnx
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.graph import head_nodes
from yoloslim.deploy.manifest import load_manifest, save_manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.rockchip.compilation import RknnOptions, compile_rknn, load_rknn_result
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.files import sha256_file
from yoloslim.toolchains.base import HOME

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rockchip") / "export"
    model = tiny_detector().eval()
    shake_norms(model)  # untrained ones hide their signals, and what quantisation does to them
    export_model(model, folder)
    return folder


@pytest.fixture(scope="module")
def compiled(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_toolchain("rockchip")
    folder = tmp_path_factory.mktemp("rockchip") / "fp16"
    compile_rknn(export, folder, RknnOptions("rk3588"))
    return folder


def refused(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["compile", *map(str, arguments)])
    assert done.exit_code == 1
    return str(done.exception)


def test_chips_and_precisions_that_do_not_exist_are_refused(export: Path, tmp_path: Path) -> None:
    assert "knows no chip 'rk3599'; known: rk3588, " in refused(export, "--target", "rk3599")
    for board in ("rk3588s", "RK3588"):
        assert f"knows no chip '{board}'; it is named rk3588; known: " in refused(export, "--target", board)
    assert "rv1106 computes in int8 only; ask for precision int8, not hybrid" in refused(
        export, "--target", "rv1106", "--precision", "hybrid"
    )
    assert "name it, --target rk3588" in refused(export, "--precision", "int8", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_toolchain_that_is_missing_is_one_line(export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME, str(tmp_path))
    said = refused(export, "--target", "rk3588", "--out", tmp_path / "out")
    assert said.endswith("is not installed: yoloslim toolchain install rockchip (needs 1.0 GB of disk)")
    assert not (tmp_path / "out").exists()


def test_calibration_images_that_are_missing_or_of_another_size_are_refused(export: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    int8 = (export, "--target", "rk3588", "--precision", "int8", "--out", tmp_path / "out")
    assert "int8 needs calibration images, and there are none" in refused(*int8)
    assert "holds no pictures" in refused(*int8, "--images", tmp_path / "empty")
    assert "nowhere is missing or no folder" in refused(*int8, "--images", tmp_path / "nowhere")
    with pytest.raises(DeployError, match=r"rknn-int8 model takes uint8 images \(batch, 64, 64, 3\)"):
        compile_rknn(export, tmp_path / "out", RknnOptions("rk3588", "int8"), IMAGES[:, :32])


def test_only_plain_exports_of_one_image_are_compiled(tmp_path: Path) -> None:
    export_model(tiny_detector(), tmp_path / "open", ExportOptions(batch=0))
    with pytest.raises(DeployError, match=r"batch -1; the NPU's compiler takes an fp32 ONNX export"):
        compile_rknn(tmp_path / "open", tmp_path / "out", RknnOptions())


def test_what_was_compiled_is_told_layer_by_layer(compiled: Path) -> None:
    result = load_rknn_result(compiled)
    assert (result.chip, result.precision, result.toolkit, result.calibration_images) == ("rk3588", "fp16", "2.5.0", 0)
    assert set(result.files) == {"model.onnx", "model.rknn"}
    assert result.size_mb == (compiled / "model.rknn").stat().st_size / 1e6
    convolutions = [layer for layer in result.layers if layer["kind"] == "ConvExSwish"]
    assert len(convolutions) == 9
    assert {layer["where"] for layer in convolutions} == {"NPU"}
    assert convolutions[0]["name"] == "model.0.conv"
    assert result.off_npu == ()
    assert result.weight_kb >= 8  # 4300 weights of two bytes
    assert result.internal_kb > 10
    assert not list(Path().glob("check*.onnx"))  # the toolkit leaves files where it stands


def test_one_for_another_chip_or_toolkit_and_one_that_changed_are_refused(compiled: Path, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"compiled for rk3588 and does not load on rk3568: compile it for rk3568"):
        load_rknn_result(compiled, "rk3568")
    for file in compiled.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    facts = json.loads((tmp_path / "rknn.json").read_text())
    (tmp_path / "rknn.json").write_text(json.dumps({**facts, "toolkit": "2.3.2"}))
    with pytest.raises(DeployError, match=r"by rknn-toolkit2 2\.3\.2, this yoloslim works with 2\.5\.0; compile again"):
        open_predictor(tmp_path, "rknn")
    (tmp_path / "rknn.json").write_text(json.dumps(facts))
    (tmp_path / "model.rknn").write_bytes(b"RKNN")
    with pytest.raises(DeployError, match=r"model\.rknn is missing or not the file that .* describes"):
        open_predictor(tmp_path, "rknn")
    (tmp_path / "rknn.json").unlink()
    with pytest.raises(DeployError, match="holds no compiled model"):
        open_predictor(tmp_path, "rknn")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "options", "said"),
    [
        ("RandomNormalLike", {}, "is not supported, please remove it"),
        ("QuickGelu", {"domain": "com.microsoft"}, "compiling: "),
    ],
)
def test_an_operation_that_the_compiler_refuses_is_told_with_its_layer(
    export: Path, tmp_path: Path, operation: str, options: dict[str, str], said: str
) -> None:
    needs_toolchain("rockchip")
    graph = read_onnx(export / "model.onnx")
    place, node = next((i, n) for i, n in enumerate(graph.graph.node) if n.name == "/model.3/cv1/act/Mul")
    given, node.output[0] = node.output[0], "before"
    name = f"/model.3/cv1/act/{operation}"
    graph.graph.node.insert(place + 1, helper.make_node(operation, ["before"], [given], name, **options))
    graph.opset_import.extend(helper.make_opsetid(domain, 1) for domain in options.values())
    broken = tmp_path / "broken"
    broken.mkdir()
    onnx.save(graph, broken / "model.onnx")
    digest = {"model.onnx": sha256_file(broken / "model.onnx")}
    save_manifest(load_manifest(export).model_copy(update={"files": digest}), broken)
    message = refused(broken, "--target", "rk3588", "--out", tmp_path / "out")
    assert said in message
    assert message.endswith(f"; in the model: {operation} of model.3.cv1.act; export it without")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_int8_is_near_the_model_and_hybrid_nearer(export: Path, tmp_path: Path) -> None:
    needs_toolchain("rockchip")
    wanted = open_predictor(export, threads=1).predict(IMAGES[:4])
    errors, more = {}, {}
    for precision in ("int8", "hybrid"):
        folder = tmp_path / precision
        result = compile_rknn(export, folder, RknnOptions("rk3588", precision, 0.3), IMAGES)  # type: ignore[arg-type]
        predictor = open_predictor(folder, "rknn")
        assert predictor.backend == f"rknn-simulator-{precision}"
        found = predictor.predict(IMAGES[:4])
        errors[precision] = sum(
            float(np.abs(a - b).mean() / np.abs(b).mean()) for a, b in zip(found, wanted, strict=True)
        )
        more[precision] = len(result.fp16_layers)
        assert (len(result.losses) > 18) is (precision == "hybrid")
        kinds = {layer["type"] for layer in result.layers if layer["kind"] == "ConvExSwish"}
        assert kinds == ({"INT8"} if precision == "int8" else {"INT8", "FLOAT16"})
        heads = [layer["type"] for layer in result.layers if layer["name"].startswith("model.6.m.")]
        assert heads == ["FLOAT16"] * 3
    assert more["int8"] < more["hybrid"]
    assert 0 < errors["hybrid"] < errors["int8"] < 0.3


@pytest.mark.slow
def test_ranges_of_the_training_are_what_the_compiler_covers(
    export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs_toolchain("rockchip")
    graph = read_onnx(export / "model.onnx")
    convs = {node.input[1].removesuffix(".weight"): node for node in graph.graph.node if node.op_type == "Conv"}
    heads = {node.input[1].removesuffix(".weight") for node in head_nodes(graph) if node.op_type == "Conv"}
    ranges = {path: (-300.0, 500.0, -700.0, 900.0) for path in convs if path not in heads}
    manifest = load_manifest(export)
    trained = tmp_path / "export"
    shutil.copytree(export, trained)
    save_manifest(manifest.model_copy(update={"ranges": ranges}), trained)
    result = compile_rknn(trained, tmp_path / "int8", RknnOptions("rk3588", "int8"), IMAGES[:1])
    assert result.ranges_from == "training"
    assert "rknn-int8 is calibrated on 1 image: ranges" in caplog.text
    covered = (tmp_path / "int8/quantized.cfg").read_text().split("    images:")[1]
    first = covered[covered.index(f"{convs['model.1.conv'].input[0]}:") :].split("zero_point")[0].split()
    assert first[first.index("min:") + 2] == "-300.0"
    assert first[first.index("max:") + 2] == "500.0"
    wanted = open_predictor(export, threads=1).predict(IMAGES[:1])
    found = open_predictor(tmp_path / "int8", "rknn").predict(IMAGES[:1])
    errors = [float(np.abs(a - b).mean() / np.abs(b).mean()) for a, b in zip(found, wanted, strict=True)]
    assert max(errors) > 0.1  # 8 bits over ranges so wide lose what those of images keep
