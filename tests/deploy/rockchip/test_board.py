from pathlib import Path

import numpy as np
import pytest

from tests.deploy.rockchip.compiled import describe, load_fake_rknnlite
from tests.tiny import tiny_detector
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.runner import rknn_session

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    export_model(tiny_detector(), tmp_path)
    describe(tmp_path)
    (tmp_path / "compatible").write_bytes(b"radxa,rock-5b\0rockchip,rk3588\0")
    monkeypatch.setattr(rknn_session, "COMPATIBLE", tmp_path / "compatible")
    return tmp_path


def test_images_go_to_the_npu_one_by_one_as_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_fake_rknnlite(monkeypatch)
    predictor = open_predictor(folder, "rknnlite")
    assert predictor.backend == "rockchip-rknnlite-int8"
    wanted = open_predictor(folder, "onnxruntime").predict(IMAGES)
    for a, b in zip(predictor.predict(IMAGES), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("chip", ["rk3588s", "rk3588j"])
def test_boards_with_a_variant_of_the_chip_take_its_models(
    folder: Path, monkeypatch: pytest.MonkeyPatch, chip: str
) -> None:
    load_fake_rknnlite(monkeypatch)
    (folder / "compatible").write_bytes(f"xunlong,orangepi-5\0rockchip,{chip}\0".encode())
    assert rknn_session.chip_here() == "rk3588"
    assert len(open_predictor(folder, "rknnlite").predict(IMAGES)) == 3
    assert rknn_session.compiled_for("rv1126b") == "rv1126b"


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
