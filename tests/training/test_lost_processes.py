"""A training that loses one of its processes, in processes of their own, since it ends them."""

import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from lightning_fabric.strategies.launchers import subprocess_script

from yoloslim.errors import TrainError
from yoloslim.training import lost_processes
from yoloslim.training.lost_processes import told_of_lost_processes

SENTENCE = (
    "another process of this training is gone: perhaps the system killed it, as it does where memory ends "
    "(`dmesg` tells). The last checkpoint is whole, and the same command goes on from it"
)
WAITS = """
import subprocess, sys, time
from lightning_fabric.strategies.launchers import subprocess_script
from yoloslim.training import lost_processes

lost_processes._PATIENCE = 0.1
sleeps = subprocess.Popen(["sleep", "600"])
with lost_processes.told_of_lost_processes():
    subprocess_script._launch_process_observer([sleeps, *(subprocess.Popen(["sh", "-c", end]) for end in sys.argv[2:])])
    print(sleeps.pid, flush=True)
    time.sleep(float(sys.argv[1]))  # as an operation of NCCL waits
sleeps.kill()
print("left alone")
"""


def wait_for(seconds: int, *ends: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WAITS, str(seconds), *ends]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def test_a_process_that_waits_for_a_lost_one_says_so_and_ends_all() -> None:
    done = wait_for(200, "exit 0", "kill -9 $$")
    assert (done.returncode, done.stderr) == (1, f"error: {SENTENCE}\n")
    with suppress(psutil.NoSuchProcess):
        assert psutil.Process(int(done.stdout)).status() == psutil.STATUS_ZOMBIE


def test_processes_that_are_done_or_were_asked_to_stop_are_no_loss() -> None:
    done = wait_for(3, "exit 0", "exit 130", "exit 143")
    assert (done.returncode, done.stdout.split("\n")[1], done.stderr) == (0, "left alone", "")


def test_what_pytorch_says_first_becomes_the_same_sentence_and_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_one() -> None:
        with told_of_lost_processes():
            subprocess_script._launch_process_observer([subprocess.Popen(["false"])])
            raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")

    monkeypatch.setattr(lost_processes, "_PATIENCE", 0.1)
    lightnings = subprocess_script._launch_process_observer
    with pytest.raises(TrainError) as caught:
        lose_one()
    assert str(caught.value) == SENTENCE
    assert subprocess_script._launch_process_observer is lightnings
    time.sleep(1.5)  # the watch would end this process


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="a bug"), told_of_lost_processes():
        raise RuntimeError("a bug")
