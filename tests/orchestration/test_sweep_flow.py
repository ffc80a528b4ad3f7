"""Sweeps through the real DVC, git and Prefect, on the stand-in pipeline or around the fake of DVC."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.toy import Toy
from tests.ports import free_port
from yoloslim.config import SweepResult, load_params
from yoloslim.orchestration.driver import run_sweep
from yoloslim.orchestration.variant_run import in_threads

pytestmark = pytest.mark.slow


def sweep(toy: Toy, workers: int = 2) -> SweepResult:
    params = load_params(toy.root / "params.yaml")
    return run_sweep(toy.root, params, in_threads(workers), workers, lambda event: None)


def test_sweep_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.write("slow.json", {"finetune@65": 8})
    command, finished = [sys.executable, "-m", "flows.sweep", "--no-prefect"], set[str]()
    for tries, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL), 1):
        before = len(toy.ran)
        with subprocess.Popen(command, cwd=toy.root, env=toy.environment, stdout=-1, stderr=-1, text=True) as process:
            while process.poll() is None and toy.ran.count("finetune@65") < tries:
                time.sleep(0.2)
            process.send_signal(number)
            _, told = process.communicate(timeout=1800)
        if number != signal.SIGKILL:
            assert process.returncode == 128 + number
            assert "stopped in mid-sweep; give the same command again to go on" in told
            assert "Traceback" not in told
        assert not finished & set(toy.ran[before:])
        # points run side by side: the stage that each was in when it was stopped is all that may run again
        stopped_in = {item: name for name in toy.ran if (item := name.partition("@")[2]) != "-"}
        assert stopped_in["65"] == "finetune@65"
        finished |= set(toy.ran) - set(stopped_in.values())
    (toy.root / "slow.json").unlink()
    before = len(toy.ran)
    assert sweep(toy).winner == "65"
    assert not finished & set(toy.ran[before:])


@contextmanager
def server(home: Path) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, str]]]:
    """A Prefect server of its own, and the environment of those who use it; settings are read once in a process."""
    port = free_port()
    settings = {"PREFECT_HOME": str(home), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    settings |= {"PREFECT_CLIENT_MAX_RETRIES": "1"}
    words = ("server", "start", "--no-ui", "--host", "127.0.0.1", "--port", str(port))
    command, environment = [sys.executable, "-m", "prefect", *words], os.environ | settings
    with subprocess.Popen(command, env=environment, stdout=-3, stderr=-3, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 1200
            while time.monotonic() < deadline:
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.5)
            yield process, settings
        finally:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> tuple[Toy, str]:
    """A project after `make sweep`, in the middle of which its Prefect server died, and what was said."""
    root = tmp_path_factory.mktemp("swept")
    (root / "project").mkdir()
    toy = Toy(root / "project")
    toy.environment["TMPDIR"] = str(tmp_path_factory.mktemp("t"))
    toy.as_checkout()
    toy.write("slow.json", {"finetune@65": 3})
    with server(Path(shutil.copytree(tables, root / "home"))) as (process, settings):
        streams: dict[str, Any] = {"stdout": -1, "stderr": subprocess.STDOUT, "text": True}
        command, environment = ["bash", "-c", "make sweep"], toy.environment | settings
        with subprocess.Popen(command, cwd=toy.root, env=environment, **streams) as running:
            while running.poll() is None and "finetune@65" not in toy.ran:
                time.sleep(0.05)
            kill(process)
            told, _ = running.communicate(timeout=1800)
    assert running.returncode == 0, told
    return toy, told


def test_prefect_server_that_dies_in_mid_sweep_costs_nothing(swept: tuple[Toy, str]) -> None:
    toy, told = swept
    assert "Prefect is away" in told
    assert toy.json("metrics/sweep.json")["winner"] == "65"
    assert len(toy.ran) == len(set(toy.ran))


def test_after_a_sweep_nothing_is_left_to_run_here_or_in_a_clone(swept: tuple[Toy, str], tmp_path: Path) -> None:
    toy, result = copy(swept[0]), swept[0].json("metrics/sweep.json")
    assert (result["winner"], result["cliff"]) == ("65", 0)
    ran = toy.ran
    assert toy.repro() == []
    assert toy.ran == ran
    assert len(ran) == len(set(ran))
    assert sum(name.startswith("finetune") for name in ran) == result["finetunings"]

    toy.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "remote"))
    toy.run("dvc", "push", "--quiet")
    toy.commit("results")
    toy.run("git", "clone", "--quiet", str(toy.root), str(tmp_path / "clone"))
    toy.root = tmp_path / "clone"
    toy.run("dvc", "pull", "--quiet")
    assert toy.repro() == []
    assert toy.ran == []
