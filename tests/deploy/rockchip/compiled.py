"""What Rockchip's compiler leaves, made without it for the fake of rknnlite."""

import sys
from pathlib import Path

import pytest

from tests.runner.fakes import rknnlite
from tests.runner.fakes.rknnlite import api
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.rockchip.compilation import RknnResult, pack
from yoloslim.files import sha256_file, write_json


def describe(folder: Path, content: bytes = b"") -> None:
    """Make an export's folder what the compiler would leave; the fake runs the ONNX graph itself."""
    (folder / "model.rknn").write_bytes(content or (folder / "model.onnx").read_bytes())
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
    pack(folder, load_manifest(folder), "rk3588")


def load_fake_rknnlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import rknnlite` give the fake."""
    monkeypatch.setitem(sys.modules, "rknnlite", rknnlite)
    monkeypatch.setitem(sys.modules, "rknnlite.api", api)
