import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.deploy.models import tiny_detector
from yoloslim.deploy import onnx as module
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import OPSETS, ExportOptions
from yoloslim.errors import DeployError
from yoloslim.models.blocks import Focus
from yoloslim.models.detector import build_detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export")
    export_model(tiny_detector(), path)
    return path


def test_the_graph_is_what_ascends_compiler_wants(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    assert [(item.domain, item.version) for item in graph.opset_import] == [("", 11)]
    (image,) = graph.graph.input
    assert image.name == "images"
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, 3, 64, 64]
    assert [o.name for o in graph.graph.output] == ["head_p3", "head_p4", "head_p5"]
    nodes = {node.name: node for node in graph.graph.node}
    for name in ("head_p3", "head_p4", "head_p5"):
        assert nodes[name].op_type == "Transpose"
        assert list(nodes[name].output) == [name]
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}


def test_the_manifest_describes_the_graph(folder: Path) -> None:
    manifest = load_manifest(folder)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert {o.name: tuple(o.shape) for o in session.get_outputs()} == {h.name: h.shape for h in manifest.heads}
    assert manifest.heads[0].shape == (1, 3, 8, 8, 8)
    assert (manifest.opset, manifest.letterbox_align, manifest.letterbox_fill) == (11, "center", 114)
    assert manifest.torch_version == torch.__version__
    assert 0 <= manifest.max_abs_diff < 1e-4


def test_metadata_travels_inside_the_file(folder: Path) -> None:
    metadata = onnxruntime.InferenceSession(folder / "model.onnx").get_modelmeta().custom_metadata_map
    values = {key: json.loads(value) for key, value in metadata.items()}
    assert values["classes"] == ["a", "b", "c"]
    assert values["head"]["strides"] == [8, 16, 32]
    assert values["imgsz"] == 64
    assert values["letterbox"] == {"align": "center", "fill": 114}
    assert np.array(values["head"]["anchors"]).shape == (3, 3, 2)


def test_the_same_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    export_model(tiny_detector(), tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


def test_exporting_changes_nothing_in_the_model(tmp_path: Path) -> None:
    model = tiny_detector().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    export_model(model, tmp_path)
    assert model.training
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("opset", range(12, 19))
def test_other_opsets_are_really_written(opset: int, tmp_path: Path) -> None:
    export_model(tiny_detector(), tmp_path, ExportOptions(opset=opset))
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == opset


def test_an_exporter_that_writes_another_opset_is_caught(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    graph.opset_import[0].version = 18
    with pytest.raises(DeployError, match=r"asked the exporter for opset 11, it wrote \{'ai\.onnx': 18\}"):
        module._check_opset(graph, 11)


def test_a_graph_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fuse", lambda model: tiny_detector(seed=1))
    with pytest.raises(DeployError, match=r"differ by .* more than 0\.001; nothing was written"):
        export_model(tiny_detector(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_fail_the_export(tmp_path: Path) -> None:
    model = tiny_detector()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(DeployError, match="Non-finite"):
        export_model(model, tmp_path / "out")


def test_a_model_with_focus_is_exported_without_slices(tmp_path: Path) -> None:
    model = build_detector("yolov5s-v5.0", ("a", "b"), 64).eval()
    assert any(isinstance(module, Focus) for module in model.modules())
    assert export_model(model, tmp_path).max_abs_diff < 1e-4
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert "Slice" not in {node.op_type for node in graph.node}
    first = next(node for node in graph.node if node.op_type == "Conv")
    assert {a.name: list(a.ints) for a in first.attribute}["kernel_shape"] == [6, 6]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_every_opset_and_an_open_batch_hold_the_heads_without_anchors(name: str, tmp_path: Path) -> None:
    model = build_detector(name, ("a", "b"), 64).eval()
    for opset in OPSETS:
        batch = opset % 2
        manifest = export_model(model, tmp_path / str(opset), ExportOptions(opset, batch))
        assert (manifest.opset, manifest.input_shape[0]) == (opset, batch or -1)
        assert manifest.max_abs_diff is not None
        assert manifest.max_abs_diff < 1e-4
        assert [head.name for head in manifest.heads] == ["head_p3", "head_p4", "head_p5"]
