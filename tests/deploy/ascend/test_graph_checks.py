"""Graphs as other tools write them, held to what Ascend's compiler takes."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from tests.deploy.models import tiny_detector
from yoloslim.cli import app
from yoloslim.deploy.ascend.graph_checks import fit_for_atc
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import load_manifest, save_manifest
from yoloslim.errors import DeployError
from yoloslim.files import sha256_file


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_model(tiny_detector().eval(), folder)
    return folder


def changed(export: Path, folder: Path, change: Callable[[ModelProto], None]) -> Path:
    """A copy of an export with another graph."""
    shutil.copytree(export, folder)
    model = onnx.load(folder / "model.onnx")
    change(model)
    onnx.save(model, folder / "model.onnx")
    manifest = load_manifest(export).model_copy(update={"files": {"model.onnx": sha256_file(folder / "model.onnx")}})
    save_manifest(manifest, folder)
    return folder


def sizes_for_scales(model: ModelProto) -> None:
    """As exporters write Resize that are asked for a size."""
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in _inferred(model)}
    for node in model.graph.node:
        if node.op_type == "Resize":
            sizes = np.array(shapes[node.output[0]], np.int64)
            model.graph.initializer.append(numpy_helper.from_array(sizes, f"{node.output[0]}/sizes"))
            empty = numpy_helper.from_array(np.empty(0, np.float32), f"{node.output[0]}/empty")
            model.graph.initializer.append(empty)
            node.input[2] = empty.name
            node.input.append(f"{node.output[0]}/sizes")


def _inferred(model: ModelProto) -> list[onnx.ValueInfoProto]:
    return list(onnx.shape_inference.infer_shapes(model).graph.value_info)


def outputs(path: Path) -> list[np.ndarray]:
    x = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    return onnxruntime.InferenceSession(str(path)).run(None, {"images": x})  # type: ignore[no-any-return]


def test_our_own_graph_is_packed_as_it_is(export: Path, tmp_path: Path) -> None:
    assert fit_for_atc(onnx.load(export / "model.onnx")) == []
    result = CliRunner().invoke(app, ["compile", str(export), "--out", str(tmp_path / "a")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a/model.onnx").read_bytes() == (export / "model.onnx").read_bytes()


def test_sizes_of_resize_become_scales_and_nothing_else_changes(
    export: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = changed(export, tmp_path / "other", sizes_for_scales)
    with caplog.at_level(logging.INFO):
        result = CliRunner().invoke(app, ["compile", str(other), "--out", str(tmp_path / "a")])
    assert result.exit_code == 0, result.output
    assert "rewritten for the compiler: Resize of layer model." in caplog.text
    assert load_manifest(tmp_path / "a").sha256 == sha256_file(tmp_path / "a/model.onnx")
    packed = onnx.load(tmp_path / "a/model.onnx")
    resizes = [node for node in packed.graph.node if node.op_type == "Resize"]
    weights = {w.name: numpy_helper.to_array(w).tolist() for w in packed.graph.initializer}
    assert [weights[node.input[2]] for node in resizes] == [[1, 1, 2, 2]] * 2
    assert all(len(node.input) == 3 for node in resizes)
    for found, wanted in zip(outputs(tmp_path / "a/model.onnx"), outputs(export / "model.onnx"), strict=True):
        np.testing.assert_array_equal(found, wanted)


def computed_size(model: ModelProto) -> None:
    sizes_for_scales(model)
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    shape = helper.make_node("Shape", [node.output[0].replace("Resize", "Shape") or "x"], ["computed"], "/size/Shape")
    shape.input[0] = "images"
    node.input[3] = "computed"
    model.graph.node.insert(0, shape)


def cubic(model: ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    next(item for item in node.attribute if item.name == "mode").s = b"cubic"


def opset_19(model: ModelProto) -> None:
    model.opset_import[0].version = 19


def second_domain(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (computed_size, r"layer model\.\d+.*: Resize computes its size while it runs"),
        (cubic, r"layer model\.\d+.*: Resize in mode cubic has no kernel"),
        (opset_19, "of opset 19; ATC takes 11 to 18"),
        (second_domain, "operator sets com.microsoft beside ONNX's own"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_by_layer(
    export: Path, change: Callable[[ModelProto], None], message: str
) -> None:
    model = onnx.load(export / "model.onnx")
    change(model)
    with pytest.raises(DeployError, match=message):
        fit_for_atc(model)


def small(nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, ...]], output: str, kind: int) -> ModelProto:
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    result = helper.make_tensor_value_info(output, kind, None)
    graph = helper.make_graph(nodes, "g", made, [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def test_suppression_gets_all_five_inputs_and_gives_the_same() -> None:
    limit = helper.make_node("Constant", [], ["limit"], value=numpy_helper.from_array(np.array([9], np.int64)))
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "limit"], ["chosen"], "/model.9/nms/NMS")
    model = small([limit, node], {"boxes": (1, 4, 4), "scores": (1, 2, 4)}, "chosen", TensorProto.INT64)
    rng = np.random.default_rng(0)
    feed = {"boxes": rng.random((1, 4, 4), dtype=np.float32), "scores": rng.random((1, 2, 4), dtype=np.float32)}
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)
    assert fit_for_atc(model) == ["NonMaxSuppression of layer model.9.nms has all five inputs"]
    assert [len(n.input) for n in model.graph.node if n.op_type == "NonMaxSuppression"] == [5]
    np.testing.assert_array_equal(onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed), wanted)
    assert len(wanted[0])


def test_a_slice_of_every_second_column_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    values = {"starts": [0], "ends": [64], "axes": [3], "steps": [2]}
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, np.int64)))
        for name, value in values.items()
    ]
    nodes.append(helper.make_node("Slice", ["images", *values], ["y"], "/model.0/Slice"))
    model = small(nodes, {"images": (1, 3, 64, 64)}, "y", TensorProto.FLOAT)
    assert fit_for_atc(model) == []
    assert "layer model.0 takes every second column" in caplog.text
