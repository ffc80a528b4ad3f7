"""Precisions of Fabric, threads, and two processes on a CPU (gloo) against one with the same whole batch."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from tests.training.test_fit import task
from yoloslim.errors import TrainError
from yoloslim.training.batches import Batches
from yoloslim.training.fit import Fit, fit
from yoloslim.training.launch import launch

ROOT = Path(__file__).parents[2]
SHARED: dict[str, Any] = {"batch": 4, "sync_bn": True, "mixup": 0.0}


def test_fp16_on_a_cpu_is_fp16_with_a_scaler() -> None:
    precision = launch(task(train={"precision": "fp16"}).train).strategy.precision
    assert precision.precision == "16-mixed"
    assert precision.scaler.get_scale() > 1


def test_fabric_does_not_speak(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("lightning_fabric").setLevel(logging.INFO)  # as its import leaves it
    with caplog.at_level("INFO"):
        launch(task(train={"precision": "bf16"}).train)
    assert [record for record in caplog.records if record.name.startswith("lightning")] == []


@pytest.mark.parametrize(
    ("asked", "processes", "expected"),
    [
        (0, 4, 2),  # Fabric's launcher sets a process's share of the cores itself
        (1, 4, 1),
        (64, 4, 2),
        (0, 1, 8),
        (3, 1, 3),
        (64, 1, 8),
    ],
)
def test_no_more_threads_than_cores(
    asked: int, processes: int, expected: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """PyTorch starts with one a core of the machine, which a container may not have: a fake of Fabric."""
    before, before_cv2 = torch.get_num_threads(), cv2.getNumThreads()

    class FakeFabric:
        world_size, is_global_zero = processes, True

        def __init__(self, **_: object) -> None:
            pass

        def launch(self) -> None:
            if processes > 1:
                torch.set_num_threads(2)

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("yoloslim.cores.usable_cores", lambda: 8)
    monkeypatch.setattr("yoloslim.training.launch.Fabric", FakeFabric)
    try:
        torch.set_num_threads(16)
        with caplog.at_level("INFO", "yoloslim"):
            launch(task(train={"threads": asked, "devices": processes, "share": 2}).train)
        said = "train.share is for one process: each of the 4 computes its images of a batch all at once"
        assert (said in caplog.messages) == (processes > 1)
        assert torch.get_num_threads() == cv2.getNumThreads() == expected
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(before_cv2)


def run_shared(folder: Path, *launcher: str, fuse: int = 0, **train: Any) -> subprocess.CompletedProcess[str]:
    """Train with `train.devices=2` in processes of their own; rank 0 writes weights and history."""
    script = folder / "shared.py"
    script.write_text(f"""
import json, torch
from pathlib import Path
from tests.training.test_fit import Fuse, fit, task
from yoloslim.training.callback import Callback
rider = Fuse({fuse}) if {fuse} else Callback()
result = fit(task(2, train={train!r}, checkpoint=Path({str(folder / "x.pt")!r}), callbacks=(rider,)))
if result.is_main:
    torch.save(result.model.state_dict(), {str(folder / "weights.pt")!r})
    Path({str(folder / "history.json")!r}).write_text(json.dumps(result.history))
""")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(script)]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=1800)


def assert_same_training(folder: Path, whole: Fit) -> None:
    history = json.loads((folder / "history.json").read_text())
    assert len(history) == len(whole.history)
    for mine, theirs in zip(history, whole.history, strict=True):
        for part in ("box_loss", "obj_loss", "cls_loss"):
            assert mine[part] == pytest.approx(theirs[part], abs=1e-5)
    weights = torch.load(folder / "weights.pt", weights_only=True)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("nominal", [0, 6])
def test_two_processes_train_as_one_with_the_same_batch(nominal: int, tmp_path: Path) -> None:
    train = {**SHARED, "nominal_batch": nominal}
    done = run_shared(tmp_path, **train, devices=2)
    assert done.returncode == 0, done.stderr
    assert_same_training(tmp_path, fit(task(2, train=train)))


@pytest.mark.slow
def test_two_processes_under_torchrun_that_were_stopped_resume_to_the_same_weights(tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2")
    assert run_shared(tmp_path, *torchrun, fuse=3, **SHARED).returncode != 0
    assert (tmp_path / "x.pt").is_file()
    done = run_shared(tmp_path, *torchrun, **SHARED)
    assert done.returncode == 0, done.stderr
    assert_same_training(tmp_path, fit(task(2, train=SHARED)))


@pytest.mark.parametrize(("batch", "message"), [(1, "train.batch is 1"), (16, "more images or fewer devices")])
def test_batch_that_cannot_be_shared_is_refused(batch: int, message: str) -> None:
    settings = task(train={"batch": batch})
    with pytest.raises(TrainError, match=message):
        Batches(
            settings.train_set,
            settings.train,
            1,
            0,
            settings.model.spec,
            torch.device("cpu"),
            rank=0,
            world=9 if batch > 9 else 2,
        )
