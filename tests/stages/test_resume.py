"""A stage that is killed under a real `dvc repro`, and what the next one makes of it."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.project import Project
from yoloslim.files import sha256_file

pytestmark = pytest.mark.slow

EPOCHS = 9


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, {"baseline": {"epochs": EPOCHS}, "tracking": {"enabled": False}})


def kill_after_an_epoch(project: Project, *command: str) -> None:
    """Run a command of DVC, and `kill -9` the stage `baseline` below it as soon as a checkpoint is there."""
    started = time.time_ns()
    dvc = subprocess.Popen(
        command, cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while dvc.poll() is None and not any(path.stat().st_mtime_ns > started for path in checkpoints(project)):
        time.sleep(0.01)
    assert dvc.poll() is None, "the stage was over before it could be killed"
    for process in psutil.Process(dvc.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "pipeline.baseline" in " ".join(process.cmdline()):
                process.kill()
    assert dvc.wait(600) != 0
    assert checkpoints(project)


def checkpoints(project: Project) -> list[Path]:
    """Whole ones; those being written begin with a dot."""
    return list((project.root / ".cache/checkpoints").glob("[!.]*.pt"))


def test_stage_killed_under_dvc_resumes_to_the_weights_of_an_uninterrupted_one(project: Project) -> None:
    model = project.root / "models/baseline/model.safetensors"
    kill_after_an_epoch(project, "dvc", "repro", "baseline")
    assert not model.exists()
    resumed = project.run("dvc", "repro", "baseline")
    assert f"of {EPOCHS}" in resumed.partition("resuming after epoch ")[2].splitlines()[0]
    assert f"epoch 1/{EPOCHS}" not in resumed
    found = sha256_file(model)

    force = ("dvc", "repro", "--force", "--single-item", "baseline")
    kill_after_an_epoch(project, *force)
    afresh = project.run(*force)
    assert "resuming" not in afresh
    assert f"epoch 1/{EPOCHS}" in afresh
    assert sha256_file(model) == found
    assert checkpoints(project) == []
