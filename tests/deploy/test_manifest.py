from pathlib import Path

import pytest

from yoloslim.deploy.manifest import Manifest, Output, load_manifest, save_manifest
from yoloslim.errors import DeployError, YoloslimError
from yoloslim.files import read_json, sha256_file, write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    manifest = Manifest(
        files={"model.onnx": sha256_file(tmp_path / "model.onnx")},
        model="yolov5n",
        input_name="images",
        input_shape=(1, 3, 96, 96),
        heads=(Output(name="head_p3", shape=(1, 1, 12, 12, 7)),),
        classes=("a", "b"),
        anchors=(((10.5, 13.0),),),
        strides=(8,),
        letterbox_align="topleft",
        letterbox_fill=114,
        opset=11,
        torch_version="2.13",
        max_abs_diff=1e-6,
    )
    save_manifest(manifest, tmp_path)
    return tmp_path


def test_a_manifest_survives_the_disk(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest.imgsz == 96
    assert manifest.head_names == ("head_p3",)
    assert manifest.head.anchors == (((10.5, 13.0),),)
    before = (folder / "manifest.json").read_bytes()
    save_manifest(manifest, folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_a_changed_graph_is_noticed(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"grape")
    with pytest.raises(DeployError, match=r"is not the file that .*changed or damaged"):
        load_manifest(folder)


def test_a_missing_graph_or_manifest_is_named(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(DeployError, match=r"model\.onnx is missing"):
        load_manifest(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(YoloslimError, match=r"manifest\.json is missing"):
        load_manifest(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("files", {"model.onnx": "abc"}),
        ("files", {"../model.onnx": "0" * 64}),
        ("files", {}),
        ("classes", []),
        ("surprise", 1),
        ("letterbox_fill", 300),
        ("input_shape", [1, 3, 2**20, 2**20]),
        ("input_shape", [1, 3, 10**17, 10**17]),
        ("input_shape", [10**9, 3, 96, 96]),
        ("input_shape", [1, 3, 96, 64]),
    ],
)
def test_a_bad_value_is_named(folder: Path, key: str, value: object) -> None:
    content = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", {**content, key: value})
    with pytest.raises(DeployError, match=f"not a valid manifest: {key}"):
        load_manifest(folder)
