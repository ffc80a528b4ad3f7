"""Sweeps through the real DVC, git and Prefect, on the stand-in pipeline or around the fake of DVC."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestration.toy import Toy
from tests.ports import free_port
from yoloslim.config import SweepResult, load_params
from yoloslim.errors import SweepError
from yoloslim.orchestration.driver import run_sweep
from yoloslim.orchestration.variant_run import in_threads
from yoloslim.orchestration.variants import apply_variant

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
    assert toy.repro() == []
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
    assert toy.repro() == []
    assert toy.ran == []


def test_axes_are_searched_in_worktrees_and_can_be_applied(tmp_path: Path) -> None:
    toy = Toy(tmp_path, axes={"prune.scope": ["coupled", "free"]}, max_map_drop=0.5)
    result = sweep(toy)
    assert {point.overrides.get("prune.scope", "coupled") for point in result.points} == {"coupled", "free"}
    assert result.winner == "70"
    assert "scope=free/70" in {point.name for point in result.points}
    assert toy.repro() == []
    assert not list((tmp_path / ".cache/sweep/variants").glob("*"))
    here = toy.json("metrics/finetune/70.json")["map50"]
    ran = toy.ran
    assert apply_variant(tmp_path, "scope=free/70")["overrides"] == {"prune.scope": "free"}
    toy.run("dvc", "repro")
    assert {name.partition("@")[0] for name in toy.ran[len(ran) :]} <= {"report", "timing", "champion"}
    assert toy.json("metrics/finetune/70.json")["map50"] < here
    with pytest.raises(SweepError, match="no variant 'scope=none'; there are: scope=free"):
        apply_variant(tmp_path, "scope=none/50")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_sweep_that_is_stopped_goes_on_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    toy = Toy(tmp_path)
    toy.write("slow.json", {"finetune@65": 8})
    command = [sys.executable, "-m", "flows.sweep", "--no-prefect"]
    with subprocess.Popen(command, cwd=toy.root, env=toy.environment, stdout=-1, stderr=-1, text=True) as process:
        while process.poll() is None and "finetune@65" not in toy.ran:
            time.sleep(0.2)
        process.send_signal(number)
        _, told = process.communicate(timeout=1800)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "stopped in mid-sweep; give the same command again to go on" in told
        assert "Traceback" not in told
    done = toy.ran
    (toy.root / "slow.json").unlink()
    assert sweep(toy).winner == "65"
    # points run side by side: the stage that each was in when it was stopped is all that may run again
    stopped_in = {item: name for name in done if (item := name.partition("@")[2]) != "-"}
    assert stopped_in["65"] == "finetune@65"
    assert not set(done) - set(stopped_in.values()) & set(toy.ran[len(done) :])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, str]]]:
    """A Prefect server of its own, and the environment of those who use it; settings are read once in a process."""
    port = free_port()
    settings = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
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


def test_prefect_server_that_dies_in_mid_sweep_costs_nothing(
    tmp_path: Path, server: tuple["subprocess.Popen[bytes]", dict[str, str]]
) -> None:
    process, settings = server
    (tmp_path / "project").mkdir()
    toy = Toy(tmp_path / "project")
    toy.as_checkout()
    toy.write("slow.json", {"finetune@65": 3})
    with subprocess.Popen(
        ["bash", "-c", "make sweep"],
        cwd=toy.root,
        env=toy.environment | settings,
        stdout=-1,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        while running.poll() is None and "finetune@65" not in toy.ran:
            time.sleep(0.05)
        kill(process)
        told, _ = running.communicate(timeout=1800)
    assert running.returncode == 0, told
    assert "Prefect is away" in told
    assert toy.json("metrics/sweep.json")["winner"] == "65"
    assert len(toy.ran) == len(set(toy.ran))
