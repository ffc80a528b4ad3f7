"""Leases with real processes; the GPUs are made up, since their locks are files like any other."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from yoloslim.errors import ConfigError, SweepError
from yoloslim.orchestration import leases
from yoloslim.orchestration.leases import ALL, environment_of, lease, parse_gpus, visible_gpus

ONE, TWO = "GPU-5bc12af1-1111-2222-3333-444455556666", "GPU-9d0e2c44-1111-2222-3333-444455556666"
SLICE = "MIG-8f6c5b2e-aaaa-bbbb-cccc-ddddeeeeffff"
LISTED = f"GPU 0: NVIDIA A100-SXM4-40GB (UUID: {ONE})\nGPU 1: NVIDIA A100-SXM4-40GB (UUID: {TWO})\n"
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from yoloslim.orchestration.leases import lease
folder, log, seconds, count, slots = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:6]
with lease(int(count), slots=int(slots), folder=folder) as held:
    with log.open("a") as stream:
        stream.write(f"{time.monotonic()} start {' '.join(held.devices)}\\n")
    stage = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"], pass_fds=held.fds)
    print(stage.pid, flush=True)
    stage.wait()
    with log.open("a") as stream:
        stream.write(f"{time.monotonic()} end {' '.join(held.devices)}\\n")
"""


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_gpus", lambda: ())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def hold(folder: Path, seconds: float, count: int = 1, slots: int = 2) -> subprocess.Popen[str]:
    arguments = [str(value) for value in (folder, folder / "log.txt", seconds, count, slots)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
def test_processes_never_hold_a_device_at_the_same_time(tmp_path: Path) -> None:
    holders = [hold(tmp_path, 0.3, count) for count in (1, 1, 2, 1, 2)]
    ends = [process.wait(600) for process in holders]
    assert ends == [0] * 5
    lines = (line.split() for line in (tmp_path / "log.txt").read_text().splitlines())
    events = sorted(lines, key=lambda words: float(words[0]))
    taken: set[str] = set()
    together = 0
    for _, event, *devices in events:
        if event == "start":
            assert not taken & set(devices)
            taken |= set(devices)
            together = max(together, len(taken))
        else:
            taken -= set(devices)
    assert together == 2
    assert len(events) == 10


@pytest.mark.slow
def test_a_killed_holder_frees_its_device_at_once_but_not_while_its_stage_goes_on(tmp_path: Path) -> None:
    holder = hold(tmp_path, 60, slots=1)
    assert holder.stdout
    stage = int(holder.stdout.readline())
    holder.send_signal(signal.SIGKILL)
    holder.wait(60)
    got = threading.Event()

    def wait() -> None:
        with lease(slots=1, folder=tmp_path):
            got.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not got.wait(0.6)  # the stage is still on the device
    os.kill(stage, signal.SIGKILL)
    waiting.join(60)
    assert got.is_set()


def test_threads_of_one_process_take_different_devices(tmp_path: Path) -> None:
    with lease(slots=2, folder=tmp_path) as first:
        found: list[tuple[str, ...]] = []

        def take() -> None:
            with lease(slots=2, folder=tmp_path) as second:
                found.append(second.devices)

        thread = threading.Thread(target=take)
        thread.start()
        thread.join(60)
    assert sorted([first.devices, *found]) == [("cpu-0",), ("cpu-1",)]


def test_a_stage_sees_only_its_own_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_gpus", lambda: parse_gpus(LISTED))
    with lease(folder=tmp_path) as one, lease(folder=tmp_path) as two:
        assert one.environment == {"CUDA_VISIBLE_DEVICES": ONE}
        assert two.environment == {"CUDA_VISIBLE_DEVICES": TWO}
    with lease(ALL, folder=tmp_path) as both:
        assert both.environment == {"CUDA_VISIBLE_DEVICES": f"{ONE},{TWO}"}
    with pytest.raises(ConfigError, match="3 devices at once are asked for, but only 2 GPUs are visible"), lease(3):
        pass


def test_without_gpu_a_slot_gets_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(leases, "usable_cores", lambda: 8)
    assert environment_of(("cpu-0",), False, 4) == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    assert environment_of(("cpu-0", "cpu-1"), False, 4)["OMP_NUM_THREADS"] == "4"
    assert environment_of(("cpu-0", "cpu-1"), False, 2) == {"CUDA_VISIBLE_DEVICES": ""}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environment_of(("cpu-0",), False, 4) == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("cores", "gigabytes", "slots"), [(2, 24, 2), (64, 256, 8), (8, 16, 5), (4, 2, 1), (1, 100, 1)]
)
def test_a_cpu_trains_as_many_points_as_cores_and_memory_allow(
    cores: int, gigabytes: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "usable_cores", lambda: cores)
    memory = type("Memory", (), {"total": gigabytes * 10**9})
    monkeypatch.setattr(leases.psutil, "virtual_memory", lambda: memory)
    assert leases.cpu_slots() == slots


def test_visible_devices_are_respected_by_number_and_by_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_gpus", lambda: parse_gpus(LISTED))
    assert visible_gpus() == (ONE, TWO)
    for value, expected in (("1", (TWO,)), ("GPU-5bc1", (ONE,)), ("1,0", (TWO, ONE)), ("", ()), ("-1", ())):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert visible_gpus() == expected
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(ConfigError, match="names '7', but `nvidia-smi -L` lists 2 GPUs"):
        visible_gpus()


def test_slices_of_a_gpu_are_leased_instead_of_it() -> None:
    lines = LISTED.splitlines()
    listed = "\n".join([lines[0], f"  MIG 3g.20gb     Device  0: (UUID: {SLICE})", lines[1]])
    assert parse_gpus(listed) == ((SLICE,), (TWO,))
    assert parse_gpus("No devices were found\n") == ()


def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "locks").symlink_to("theirs")
    with pytest.raises(SweepError, match=r"locks belongs to somebody else"), lease(folder=tmp_path / "locks"):
        pass
