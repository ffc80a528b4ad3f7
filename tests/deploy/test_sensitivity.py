from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from tests.tiny import shake_norms, tiny_detector
from yoloslim.cli import app
from yoloslim.config import parse_params
from yoloslim.deploy.before_silu import ranges_before_silu
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import quantize
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import ExportOptions, onnx_graph
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.deploy.sensitivity import losses, most_sensitive, nodes_of
from yoloslim.errors import DeployError
from yoloslim.models.detector import Detector
from yoloslim.stages import quantize as stage
from yoloslim.training.quantization import Point, _attach

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
PATH = "model.3.cv3.conv"


def shaken() -> Detector:
    torch.manual_seed(0)
    model = tiny_detector(imgsz=64).eval()
    shake_norms(model)
    return model


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sensitivity")
    export_model(shaken(), folder)
    return folder


def test_a_layer_costs_what_pytorch_makes_of_it_alone() -> None:
    plain, rounded, points = shaken(), shaken(), (Point(), Point())
    graph = onnx_graph(shaken(), ExportOptions())
    found = losses(graph, IMAGES, {})
    assert len(found) == 10  # the three of the heads are never int8
    batch = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255
    _attach(rounded, {PATH: points}, {PATH: (PATH, -1)})
    for point in points:
        point.extremes = []
    with torch.no_grad():
        wanted = torch.cat([head.flatten() for head in plain(batch)]).double()
        rounded(batch)
        for point in points:
            values = torch.cat(point.extremes or [], 1)
            point.extremes = None
            point.set(float(values.min()), float(values.max()))
        points[1].set(*ranges_before_silu(graph, IMAGES)["/model.3/cv3/conv/Conv_output_0"])
        changed = torch.cat([head.flatten() for head in rounded(batch)]).double()
    expected = float((changed - wanted).norm() / wanted.norm())
    assert 0 < expected == pytest.approx(found["/model.3/cv3/conv/Conv_output_0"], rel=1e-3)


def test_ranges_of_a_training_count_before_those_of_images() -> None:
    graph = onnx_graph(shaken(), ExportOptions())
    name = "/model.3/cv3/conv/Conv_output_0"
    assert losses(graph, IMAGES, {name: (-900.0, 900.0)})[name] > 10 * losses(graph, IMAGES, {})[name]


LOST = {
    "/model.0/conv/Conv_output_0": 3e-05,
    "/model.0/act/Mul_output_0": 0.00055,
    "/model.1/conv/Conv_output_0": 0.00044,
    "/model.2/Concat_output_0": 0.0001,
}


def test_the_most_sensitive_layers_are_taken_with_their_activation() -> None:
    worst = ("/model.0/conv/Conv_output_0", "/model.0/act/Mul_output_0")
    assert most_sensitive(LOST, 0.01) == worst
    assert most_sensitive(LOST, 0.67) == (*worst, "/model.1/conv/Conv_output_0")
    nodes = nodes_of(onnx_graph(shaken(), ExportOptions()), worst[:1])
    assert set(nodes) == {"/model.0/conv/Conv", "/model.0/act/Sigmoid", "/model.0/act/Mul"}


@pytest.mark.parametrize("runtime", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_layers_that_lose_most_stay_fp32_and_the_rest_is_nearer(runtime: str, export: Path, tmp_path: Path) -> None:
    wanted = open_predictor(export, threads=1).predict(IMAGES)
    off = {}
    for share in (0.0, 0.3):
        manifest = quantize(export, IMAGES, tmp_path / str(share), runtime, share)
        found = open_predictor(tmp_path / str(share), threads=1).predict(IMAGES)
        off[share] = sum(float(np.square(a - b).sum()) for a, b in zip(found, wanted, strict=True))
    assert 0 < off[0.3] < 0.9 * off[0.0]
    worst = sorted(manifest.losses, key=manifest.losses.__getitem__)[-3:]
    assert set(manifest.fp32_layers) == set(worst)
    assert load_manifest(tmp_path / "0.3") == manifest
    assert "losses" not in (tmp_path / "0.0/manifest.json").read_text()
    if runtime == "onnxruntime":
        weights = onnx.load(tmp_path / "0.3/model.onnx").graph.initializer
        fp32 = {w.name.removesuffix(".conv.weight") for w in weights if w.name.endswith(".conv.weight")}
        assert len(fp32) == 3


def test_the_command_shows_the_table(export: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(IMAGES):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), image)
    command = ["quantize", str(export), str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--fp32-share", "0.1"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    first, *_ = done.output.splitlines()
    assert first.split()[0] == load_manifest(tmp_path / "out").fp32_layers[0]
    assert first.split()[-1] == "fp32"
    assert done.output.splitlines()[1].endswith("int8")


def test_runtimes_that_cannot_are_refused_before_any_work(export: Path, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="for ncnn leaves no layers of one's choice in fp32; for onnx"):
        quantize(export, IMAGES, tmp_path / "out", "ncnn", 0.1)
    with pytest.raises(DeployError, match=r"for litert leaves no .* for onnxruntime, openvino, tensorrt it does"):
        stage.run(parse_params({"quantize": {"runtimes": ["onnxruntime", "litert"], "fp32_share": 0.1}}), "50")
