"""What lies under `.cache`, when the disk is full or the files are damaged: through the commands of the stages."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.disks import fill, small_disk
from tests.project import ROOT, TINY

pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}


def run(folder: Path, stage: str) -> tuple[int, str]:
    command = [sys.executable, "-m", f"pipeline.{stage}"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def write_params(folder: Path, **changes: Any) -> None:
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"imgsz": 64, "percents": [40]}
    for name, change in [*TINY.items(), *changes.items()]:
        params[name] = params[name] | change
    params["tracking"]["enabled"] = False
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_params(folder)
    assert run(folder, "data")[0] == 0
    return folder


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Path:
    """A project whose data stage has run."""
    (tmp_path / "data").symlink_to(prepared / "data")
    write_params(tmp_path)
    return tmp_path


def weights(project: Path) -> bytes:
    return (project / "models/baseline/model.safetensors").read_bytes()


def test_a_cache_without_room_for_the_images_is_said_before_they_are_decoded(project: Path) -> None:
    with small_disk(project / ".cache", "192k") as disk:  # 8 images of 64 x 64 pixels fit, 24 do not
        code, output = run(project, "baseline")
        assert code == 1
        assert re.search(r"error: 0\.3 MB are needed in \.cache/images and 0\.\d MB are free there", output)
        assert "train.cache_dir" in output
        assert [path.suffix for path in (disk / "images").iterdir() if path.suffix != ".json"] in ([], [".npy"])
        assert not (project / "models").exists()


def test_a_checkpoint_without_room_is_said(project: Path) -> None:
    with small_disk(project / ".cache", "4m") as disk:
        code, output = run(project, "baseline")
        assert code == 1
        assert re.search(r"error: cannot write checkpoint \S+: \d+\.\d MB are needed .* MB are free", output)
        assert list((disk / "checkpoints").iterdir()) == []


def interrupted(project: Path) -> Path:
    """Stop a training of many epochs at its first checkpoint; the checkpoint."""
    write_params(project, baseline={"epochs": 300})
    command = [sys.executable, "-m", "pipeline.baseline"]
    with subprocess.Popen(command, cwd=project, env=environment(), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 900
        while not (found := list((project / ".cache/checkpoints").glob("[!.]*.pt"))) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    return found[0]


def test_a_disk_that_fills_while_training_keeps_the_last_checkpoint(project: Path) -> None:
    with small_disk(project / ".cache", "96m") as disk:
        checkpoint = interrupted(project)
        before = checkpoint.read_bytes()
        fill(disk / "filler")
        code, output = run(project, "baseline")
        assert code == 1
        assert "The checkpoint before it is kept, and the same command goes on from it" in output
        assert checkpoint.read_bytes() == before
        assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]  # what the kill left is gone


def test_a_damaged_store_is_made_again_and_the_model_is_the_same(project: Path) -> None:
    assert run(project, "baseline")[0] == 0
    expected = weights(project)
    stores = sorted((project / ".cache/images").glob("*.npy"))
    assert len(stores) >= 2
    sound = [store.read_bytes() for store in stores]
    for store, data, damage in zip(stores, sound, ("flip", "cut", "empty"), strict=False):
        flipped = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x10]) + data[len(data) // 2 + 1 :]
        store.write_bytes({"flip": flipped, "cut": data[:-60], "empty": b""}[damage])
    code, output = run(project, "baseline")
    assert code == 0
    assert output.count("was damaged on the disk and has been decoded again, as 1 of its") == 1
    assert output.count("is damaged, or was not written to its end: the images are decoded again") == len(stores) - 1
    assert [store.read_bytes() for store in stores] == sound
    assert weights(project) == expected


def test_a_damaged_checkpoint_is_left_aside_and_said(project: Path) -> None:
    checkpoint = interrupted(project)
    data = bytearray(checkpoint.read_bytes())
    data[len(data) * np.random.default_rng(0).integers(10, 90) // 100] ^= 1
    checkpoint.write_bytes(bytes(data))
    command = [sys.executable, "-m", "pipeline.baseline"]
    with subprocess.Popen(
        command, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "cannot be read" in line:
                break
        process.kill()
    assert "is damaged, or was not written to its end): training starts from the beginning" in lines[-1]
