from pathlib import Path

import numpy as np
import pytest

from tests.deploy.rockchip.fake_rknnlite import load_fake_rknnlite
from tests.tiny import tiny_detector
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.rockchip import board
from yoloslim.deploy.rockchip.compilation import RknnResult
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.files import sha256_file, write_json

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def describe(folder: Path, content: bytes = b"RKNN") -> None:
    """Make an export's folder what the compiler would leave."""
    (folder / "model.rknn").write_bytes(content)
    files = {name: sha256_file(folder / name) for name in ("model.onnx", "model.rknn")}
    result = RknnResult(
        chip="rk3588",
        precision="int8",
        toolkit="2.5.0",
        onnx_sha256=files["model.onnx"],
        files=files,
        calibration_images=16,
        fp16_layers=(),
        internal_kb=1,
        weight_kb=1,
        size_mb=1,
        compile_s=1,
        off_npu=(),
        layers=(),
        losses=(),
    )
    write_json(folder / "rknn.json", result.model_dump(mode="json"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    export_model(tiny_detector(), tmp_path)
    describe(tmp_path)
    (tmp_path / "compatible").write_bytes(b"radxa,rock-5b\0rockchip,rk3588\0")
    monkeypatch.setattr(board, "COMPATIBLE", tmp_path / "compatible")
    return tmp_path


def test_images_go_to_the_npu_one_by_one_as_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_fake_rknnlite(monkeypatch)
    predictor = open_predictor(folder, "rknnlite")
    assert predictor.backend == "rockchip-rknnlite-int8"
    wanted = open_predictor(folder, "onnxruntime").predict(IMAGES)
    for a, b in zip(predictor.predict(IMAGES), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_another_chip_is_named_with_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_fake_rknnlite(monkeypatch)
    (folder / "compatible").write_bytes(b"radxa,rock-3a\0rockchip,rk3568\0")
    with pytest.raises(DeployError, match="compiled for rk3588, this is an rk3568: yoloslim compile --target rk3568"):
        open_predictor(folder, "rknnlite")
    (folder / "compatible").unlink()  # then the runtime itself says it
    describe(folder, b"CHIP")
    with pytest.raises(DeployError, match=r"init_runtime returned -1; the chip, or its runtime librknnrt\.so"):
        open_predictor(folder, "rknnlite")


def test_a_machine_without_the_package_is_told_of_the_simulator(folder: Path) -> None:
    with pytest.raises(DeployError, match=r"cannot import rknnlite .*pip install rknn-toolkit-lite2; .*--runtime rknn"):
        open_predictor(folder, "rknnlite")
