"""Files of other tools; the stand-in is a plain torch export that decodes its heads, under the exporter's own names."""

import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.deploy.models import tiny_detector
from yoloslim.deploy.decoded import DecodedDetector
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.foreign import import_onnx
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.models.detector import fuse
from yoloslim.models.store import save_model

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, model = tmp_path_factory.mktemp("foreign"), tiny_detector()
    save_model(model, root / "model.safetensors")
    export_model(model, root / "ours")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(DecodedDetector(fuse(model)), (torch.zeros(1, 3, 64, 64),), buffer, dynamo=False)
    (root / "theirs.onnx").write_bytes(buffer.getvalue())
    return root


def test_an_adopted_graph_gives_the_raw_heads(folder: Path, tmp_path: Path) -> None:
    manifest = import_onnx(folder / "theirs.onnx", folder / "model.safetensors", tmp_path)
    assert manifest.head_names == ("head_p3", "head_p4", "head_p5")
    assert manifest.max_abs_diff is None  # nothing was compared with PyTorch
    mine, ours = open_predictor(tmp_path, threads=1), open_predictor(folder / "ours", threads=1)
    assert mine.classes == ours.classes
    for a, b in zip(mine.predict(IMAGES), ours.predict(IMAGES), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_an_adopted_file_is_not_replaced_by_what_is_made_of_it(folder: Path, tmp_path: Path) -> None:
    before = (folder / "theirs.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(before)
    with pytest.raises(DeployError, match="itself would be replaced by what is made of it; name another folder"):
        import_onnx(tmp_path / "model.onnx", folder / "model.safetensors", tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == before


def test_an_adopted_file_describes_itself_whatever_its_tool_had_written_there(folder: Path, tmp_path: Path) -> None:
    graph = onnx.load(folder / "theirs.onnx")
    for key, value in (("imgsz", "[640, 640]"), ("precision", '"fp16"'), ("author", "someone")):
        graph.metadata_props.add(key=key, value=value)
    onnx.save(graph, tmp_path / "theirs.onnx")
    import_onnx(tmp_path / "theirs.onnx", folder / "model.safetensors", tmp_path / "out")
    path = tmp_path / "alone.onnx"
    path.write_bytes((tmp_path / "out/model.onnx").read_bytes())
    alone, ours = open_predictor(path, threads=1), open_predictor(folder / "ours", threads=1)
    assert (alone.backend, alone.imgsz, tuple(alone.classes)) == ("onnxruntime-cpu", 64, ("a", "b", "c"))
    assert alone.head == ours.head
    for a, b in zip(alone.predict(IMAGES), ours.predict(IMAGES), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert [p.value for p in onnx.load(path).metadata_props if p.key == "author"] == ["someone"]


def test_a_graph_without_heads_is_refused_with_what_was_looked_for(folder: Path, tmp_path: Path) -> None:
    graph = onnx.load(folder / "theirs.onnx")
    for node in graph.graph.node:
        if node.op_type == "Transpose":
            node.attribute[0].ints[:] = [0, 1, 4, 2, 3]
    path = tmp_path / "odd.onnx"
    onnx.save(graph, path)
    with pytest.raises(DeployError, match=r"found 0 heads .*looked for Transpose nodes with perm \[0, 1, 3, 4, 2\]"):
        import_onnx(path, folder / "ours", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_foreign_file_cannot_be_opened_as_it_is(folder: Path) -> None:
    with pytest.raises(DeployError, match=r"of another program, and gives .*--like MODEL"):
        open_predictor(folder / "theirs.onnx")


def test_our_own_file_describes_itself_without_its_manifest(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "copied.onnx"
    path.write_bytes((folder / "ours" / "model.onnx").read_bytes())
    mine, ours = open_predictor(path, threads=1), open_predictor(folder / "ours", threads=1)
    assert (mine.imgsz, mine.classes) == (64, ("a", "b", "c"))
    assert (mine.graph.letterbox_align, mine.graph.letterbox_fill) == ("center", 114)  # type: ignore[attr-defined]
    for a, b in zip(mine.predict(IMAGES), ours.predict(IMAGES), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "runtime", "message"),
    [
        ("model.bin", None, r"no model that yoloslim runs; give a file that ends in \.safetensors, \.pt"),
        ("model.safetensors", "openvino", "openvino does not read model.safetensors, pytorch do"),
        ("theirs.xml", None, r"manifest\.json is missing, and theirs\.xml does not describe itself"),
        ("none.onnx", None, r"none\.onnx is missing; check the name"),
        ("ours", "acl", r"acl runs compiled models \(\.om\), not model\.onnx; compile it first"),
    ],
)
def test_files_that_no_runtime_reads_are_refused(name: str, runtime: str, message: str, folder: Path) -> None:
    for empty in ("model.bin", "theirs.xml"):
        (folder / empty).touch()
    with pytest.raises(DeployError, match=message):
        open_predictor(folder / name, runtime)  # type: ignore[arg-type]


def test_bf16_is_refused_where_the_file_decides(folder: Path) -> None:
    with pytest.raises(DeployError, match="bf16 is for pytorch and openvino"):
        open_predictor(folder / "ours", precision="bf16")


def test_a_like_of_another_size_is_refused(folder: Path, tmp_path: Path) -> None:
    save_model(tiny_detector(imgsz=96), tmp_path / "large.safetensors")
    with pytest.raises(DeployError, match=r"takes images of 64 px, .* of 96 px"):
        import_onnx(folder / "theirs.onnx", tmp_path / "large.safetensors", tmp_path / "out")


@pytest.mark.parametrize("name", ["serving_default_x:0", "$(touch PWNED)", "a b"])
def test_an_input_that_is_called_oddly_gets_a_plain_name(folder: Path, tmp_path: Path, name: str) -> None:
    graph = onnx.load(folder / "theirs.onnx")
    old = graph.graph.input[0].name
    for node in graph.graph.node:
        for i, source in enumerate(node.input):
            if source == old:
                node.input[i] = name
    graph.graph.input[0].name = name
    onnx.save(graph, tmp_path / "x\ny.onnx")
    manifest = import_onnx(tmp_path / "x\ny.onnx", folder / "model.safetensors", tmp_path / "out")
    assert (manifest.input_name, manifest.model) == ("images", "x?y")
    mine, ours = open_predictor(tmp_path / "out", threads=1), open_predictor(folder / "ours", threads=1)
    np.testing.assert_allclose(mine.predict(IMAGES)[0], ours.predict(IMAGES)[0], atol=1e-4)
