"""Latency to get down to, measured on a device: the chip is played by fakes."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from tests.deploy.board.sshd import serve
from tests.tiny import shake_norms, tiny_detector
from yoloslim.cli import app
from yoloslim.deploy.ascend.atc import AtcOptions
from yoloslim.deploy.ascend.clock import BoardClock, OnBoard
from yoloslim.deploy.board.job import Backend, BoardRun, Job, Progress
from yoloslim.deploy.timed_prune import Timing, about_time, timed_prune
from yoloslim.errors import DeployError, PruneError
from yoloslim.files import read_json
from yoloslim.models.store import save_model
from yoloslim.prune_request import PruneRequest


@pytest.fixture(autouse=True)
def atc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake compiler, on the PATH."""
    program = tmp_path / "bin" / "atc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("fake_atc.py")}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


@dataclasses.dataclass
class FakeChip:
    """A FAKE device that takes a millisecond for a thousand weights, and ever longer, as a chip that grows hot."""

    jobs: list[Job] = dataclasses.field(default_factory=list)
    tidied: int = 0

    def probe(self) -> dict[str, Any]:
        return {}

    def run(self, job: Job, bundle: Path, backend: Backend = "acl", progress: Progress | None = None) -> BoardRun:
        self.jobs.append(job)
        graph = onnx.load(next(bundle.glob("*.onnx"))).graph
        ms = sum(int(np.prod(w.dims)) for w in graph.initializer) / 1000 * (1 + len(self.jobs) // 2 / 100)
        times = np.full(len(job.images), ms)
        times[0] *= 50  # one call that was disturbed
        return BoardRun("ascend-acl", [], times, times, len(times), 0.0, {"chip": "Ascend310"})

    def tidy(self) -> None:
        self.tidied += 1


def test_a_speed_up_is_met_as_the_device_measures_it() -> None:
    chip, model = FakeChip(), tiny_detector().eval()
    shake_norms(model)
    timing = Timing("ascend", board=OnBoard(chip, AtcOptions()))
    result = timed_prune(model, PruneRequest(target_speedup=1.5, round_to=1, imgsz=64), timing)
    weights = [sum(p.numel() for p in m.parameters()) for m in (model, result.model)]
    assert 1.5 <= result.report["speedup"] < 1.6
    assert result.report["speedup"] == pytest.approx(weights[0] / weights[1], rel=0.05)  # BatchNorm is folded there
    assert result.report["latency_ms"] == pytest.approx(result.report["latency_ms_dense"] / result.report["speedup"])
    about = {"processor": "Ascend310", "runtime": "ascend-acl", "version": "", "threads": 0}
    assert result.report["latency"] == about
    assert "measured in turn (ascend-acl, on Ascend310)" in about_time(result.report)
    assert len({job.key for job in chip.jobs}) == len(chip.jobs) == chip.tidied  # each is run, none found done


def test_what_cannot_be_measured_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    board = OnBoard(FakeChip(), AtcOptions())
    with pytest.raises(PruneError, match="runtime ascend needs a device: name one"):
        Timing("ascend")
    with pytest.raises(PruneError, match="take selection percent with target_latency_ms or target_speedup"):
        Timing("ascend", selection="latency", board=board)
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    with pytest.raises(DeployError, match="atc"):
        BoardClock(tiny_detector().eval(), board)


def test_the_command_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tiny_detector(), tmp_path / "model.safetensors")
    words = ["prune", str(tmp_path / "model.safetensors"), "--target-speedup", "1.2"]
    for more, message in (
        (["--board", "ssh://user@board"], "--board is for --runtime ascend; add that"),
        (["--runtime", "ascend", "--threads", "2"], "--threads is of this machine's CPU"),
        (["--runtime", "ascend", "--selection", "latency"], "selection latency times each layer"),
        (["--runtime", "ascend", "--board", "board"], "board"),
    ):
        done = CliRunner().invoke(app, words + more)
        assert done.exit_code != 0
        assert message in (done.output + str(done.exception))
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    done = CliRunner().invoke(app, [*words, "--runtime", "ascend"])
    assert isinstance(done.exception, DeployError)
    assert not (tmp_path / "model-pruned.safetensors").exists()


@pytest.mark.slow  # some thirty jobs, each of which logs in to a real server and starts the runner there
def test_over_ssh_the_command_says_what_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tiny_detector(), tmp_path / "model.safetensors")
    with serve(tmp_path / "server") as server:
        monkeypatch.setenv("HOME", str(server.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        target = server.target()
        board = f"ssh://{target.user}@{target.host}:{target.port}{target.folder}"
        words = ["--target-latency-ms", "1000", "--runtime", "ascend", "--board", board, "--set-env", server.set_env()]
        done = CliRunner().invoke(app, ["prune", str(tmp_path / "model.safetensors"), *words])
        assert done.exit_code == 0, done.output
        assert server.folders() == []
    report = read_json(tmp_path / "model-pruned.json")
    assert report["latency"]["runtime"] == "ascend-acl"
    assert 0 < report["latency_ms"] < 1000
    assert "on Ascend310" in done.output
