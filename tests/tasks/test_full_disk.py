"""Commands on a disk that is full: a sentence and exit status 1, and nothing half-written; through the front door."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.disks import fill, small_disk
from tests.tiny import shake_norms, tiny_detector
from yoloslim.cli import main
from yoloslim.deploy.export_model import export_model
from yoloslim.models.store import save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("full")
    (root / "pictures").mkdir()
    for i in range(4):
        picture = np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(root / f"pictures/{i}.jpg"), picture)
    model = tiny_detector()
    shake_norms(model)
    save_model(model.eval(), root / "model.safetensors")
    export_model(model, root / "export")
    return root


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk with a few kilobytes left."""
    with small_disk(tmp_path / "disk", "1m") as disk:
        (disk / "out").mkdir()
        (disk / "out/before.txt").write_text("kept")
        spare = disk / "spare"
        spare.write_bytes(bytes(4096))
        fill(disk / "filler")
        spare.unlink()
        yield disk


@pytest.mark.parametrize(
    "command",
    [
        "export {m} --out {o}",
        "export {m} --format openvino --out {o}",
        "prune {m} --percent 30 --out {o}/m.safetensors",
        "detect {m} {p} --out {o}",
        "speed {m} {p}/0.jpg --out {o}/a/b/speed.json",
        "features {m} {p}/0.jpg --out {o}/f.png",
        "compile {e} --out {o}",
        "quantize {e} {p} --out {o}",
    ],
)
def test_a_full_disk_is_said(
    folder: Path, full: Path, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    places = {"m": folder / "model.safetensors", "p": folder / "pictures", "e": folder / "export", "o": full / "out"}
    monkeypatch.setattr(sys, "argv", ["yoloslim", *command.format(**places).split()])
    with pytest.raises(SystemExit) as ended:
        main()
    if "speed" in command and ended.value.code == 0:
        return  # these few bytes may have found room
    assert str(ended.value.code).startswith("error: ")
    assert "No space left on device" in str(ended.value.code)
    assert (full / "out/before.txt").read_text() == "kept"
    assert not [path for path in (full / "out").rglob("*") if ".tmp" in path.name]
