"""`yoloslim train`, typed, where the system takes things away while it runs: memory, cores, shared memory."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.squares import write_squares
from tests.tiny import tiny_detector
from yoloslim.models.store import save_model
from yoloslim.training.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow
SETTINGS = ("batch=8", "lr0=0.02", "precision=fp32", "workers=1", "threads=2")
SMALL_SHM = (
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o size=64k none /dev/shm && exec "$@"',
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surroundings")
    write_squares(folder / "set", 40)
    save_model(tiny_detector(("red", "blue")), folder / "start.safetensors")
    return folder


def command(place: Path, out: str, *settings: str, epochs: int = 6) -> list[str]:
    words = [sys.executable, "-m", "yoloslim", "train", str(place / "set"), "--model", str(place / "start.safetensors")]
    words += ["--out", str(place / out), "--epochs", str(epochs), "--device", "cpu"]
    return [*words, *(word for setting in (*SETTINGS, *settings) for word in ("--set", setting))]


def start(words: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def first_checkpoint(out: Path, process: "subprocess.Popen[str]") -> Path:
    deadline = time.monotonic() + 900
    found: list[Path] = []
    while not found:
        with suppress(FileNotFoundError):  # of a folder that has got its final name meanwhile
            found = list(out.rglob("[!.]*.pt"))
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0]


def test_a_small_shm_and_cores_that_are_taken_away_change_no_weight(place: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*SMALL_SHM, "sh", "true"], check=False).returncode:
        pytest.skip("this user may make no mount namespace")
    subprocess.run(command(place, "whole"), check=True, capture_output=True)
    process = start([*SMALL_SHM, "sh", *command(place, "disturbed")])
    first_checkpoint(place / "disturbed", process)
    for thread in psutil.Process(process.pid).threads():
        with suppress(ProcessLookupError):  # one that has ended since
            os.sched_setaffinity(thread.id, {min(os.sched_getaffinity(0))})
    output = process.communicate(timeout=1800)[0]
    assert process.returncode == 0, output
    model = "model.safetensors"
    assert (place / "disturbed" / model).read_bytes() == (place / "whole" / model).read_bytes()


def test_a_process_that_the_system_kills_ends_the_run_and_the_checkpoint_before_it_goes_on(place: Path) -> None:
    words = command(place, "killed", "devices=2", "threads=1", epochs=12)
    process = start(words)
    checkpoint = first_checkpoint(place / "killed", process)
    (child,) = [each for each in psutil.Process(process.pid).children() if "train" in each.cmdline()]
    child.send_signal(signal.SIGKILL)  # as the kernel does where memory ends
    output = process.communicate(timeout=1800)[0]
    assert process.returncode == 1, output
    assert output.count("error: another process of this training is gone") == 1
    assert "Traceback" not in output
    assert not (place / "killed/model.safetensors").exists()
    assert load_checkpoint(checkpoint) is not None
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming after epoch" in done.stdout + done.stderr
