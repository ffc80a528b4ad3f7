"""Sweeps through the real DVC, git and Prefect, on the stand-in pipeline or around the fake of DVC."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flows.driver import run_sweep
from flows.lane import in_threads
from flows.sweep import sweep as sweep_here
from flows.variants import apply_variant

from tests.flows.fake_dvc import FakeDvc
from tests.flows.toy import Toy
from tests.sweeping.curves import Curves
from yoloslim.config import SweepResult, load_params
from yoloslim.errors import SweepError

pytestmark = pytest.mark.slow


def sweep(toy: Toy, workers: int = 2) -> SweepResult:
    params = load_params(toy.root / "params.yaml")
    return run_sweep(toy.root, params, in_threads(workers), workers, lambda event: None)


def test_after_a_sweep_nothing_is_left_to_run_here_or_in_a_clone(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    toy = Toy(tmp_path)
    result = sweep(toy)
    assert (result.winner, result.cliff) == ("65", 0)
    ran = toy.ran
    assert "up to date" in toy.run("dvc", "repro")
    assert toy.ran == ran
    assert len(ran) == len(set(ran))
    assert sum(name.startswith("finetune") for name in ran) == result.finetunings

    remote, clone = tmp_path_factory.mktemp("remote"), tmp_path_factory.mktemp("clone") / "project"
    toy.run("dvc", "remote", "add", "--default", "store", str(remote))
    toy.run("dvc", "push", "--quiet")
    toy.commit("results")
    toy.run("git", "clone", "--quiet", str(toy.root), str(clone))
    toy.root = clone
    toy.run("dvc", "pull", "--quiet")
    assert "up to date" in toy.run("dvc", "repro")
    assert toy.ran == []


def test_axes_are_searched_in_worktrees_and_can_be_applied(tmp_path: Path) -> None:
    toy = Toy(tmp_path, axes={"prune.scope": ["coupled", "free"]}, max_map_drop=0.5)
    result = sweep(toy)
    assert {point.overrides.get("prune.scope", "coupled") for point in result.points} == {"coupled", "free"}
    assert result.winner == "70"
    assert "scope=free/70" in {point.name for point in result.points}
    assert "up to date" in toy.run("dvc", "repro")
    assert not list((tmp_path / ".cache/sweep/variants").glob("*"))
    here = toy.json("metrics/finetune/70.json")["map50"]
    ran = toy.ran
    assert apply_variant(tmp_path, "scope=free/70")["overrides"] == {"prune.scope": "free"}
    toy.run("dvc", "repro")
    assert {name.partition("@")[0] for name in toy.ran[len(ran) :]} <= {"report"}
    assert toy.json("metrics/finetune/70.json")["map50"] < here
    with pytest.raises(SweepError, match="no variant 'scope=none'; there are: scope=free"):
        apply_variant(tmp_path, "scope=none/50")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_sweep_that_is_stopped_goes_on_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    toy = Toy(tmp_path)
    toy.write("slow.json", {"finetune@65": 8})
    command = [sys.executable, "-m", "flows.command", "--no-prefect"]
    with subprocess.Popen(command, cwd=toy.root, env=toy.environment, stdout=-1, stderr=-1, text=True) as process:
        while process.poll() is None and "finetune@65" not in toy.ran:
            time.sleep(0.2)
        process.send_signal(number)
        _, told = process.communicate(timeout=120)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "stopped in mid-sweep; give the same command again to go on" in told
        assert "Traceback" not in told
    done = toy.ran
    (toy.root / "slow.json").unlink()
    assert sweep(toy).winner == "65"
    assert not set(done) - {"finetune@65"} & set(toy.ran[len(done) :])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[bytes]"]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "1")
    for name in ("prefect", "prefect._internal.concurrency"):  # what it says of a server that is gone, even at exit
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([*command, "--no-ui"], stdout=-3, stderr=-3, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 240
            while time.monotonic() < deadline:
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.5)
            yield process
        finally:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_prefect_server_that_dies_in_mid_sweep_costs_nothing(
    tmp_path: Path, server: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    dvc = FakeDvc(folder, Curves(48, 62), monkeypatch, low=45)
    dvc.before = lambda stage: kill(server) if stage.startswith("finetune") else None
    monkeypatch.chdir(folder)
    result = sweep_here(load_params(folder / "params.yaml"), lambda event: None)
    assert result.winner == "65"
    assert server.poll() is not None
    assert len(dvc.ran) - len(set(dvc.ran)) == sum(name == "report" for name in dvc.ran)
