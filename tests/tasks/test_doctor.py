import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.deploy.board.sshd import serve
from yoloslim.cli import app
from yoloslim.config import Params, parse_params
from yoloslim.evaluation.predictor import OnnxPredictor
from yoloslim.tasks import doctor
from yoloslim.tasks.doctor import Finding, examine


def found(params: Params, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...] = ()) -> dict[str, Finding]:
    """All findings; runtimes in `without` are not tried, to save time."""
    real = doctor._runtime
    monkeypatch.setattr(
        doctor, "_runtime", lambda name, *rest: Finding(name, "ok", "") if name in without else real(name, *rest)
    )
    return {finding.name: finding for finding in examine(params)}


OTHERS = ("OpenVINO", "ncnn", "LiteRT")
ALL = ("ONNX Runtime", *OTHERS)


def test_runtimes_are_really_run(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = found(Params(), monkeypatch, OTHERS)
    assert findings["ONNX Runtime"].state == "ok"
    assert "differs from PyTorch by" in findings["ONNX Runtime"].facts
    assert findings["Ascend board"].state == "absent"
    assert findings["Rockchip board"].facts == "rknn_eval.target is simulator"
    assert findings["Rockchip chip here"].state == "absent"
    assert findings["disk"].state == "ok"


def test_a_runtime_that_computes_something_else_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    model, real = doctor._lively_model(), OnnxPredictor.predict
    calls = []

    def wrong(self: OnnxPredictor, images: np.ndarray) -> list[np.ndarray]:
        calls.append(1)
        return [head + (0.5 if len(calls) > 1 else 0) for head in real(self, images)]  # the export's check passes

    monkeypatch.setattr(OnnxPredictor, "predict", wrong)
    finding = doctor._runtime("ONNX Runtime", "onnx", "onnxruntime", "pip install onnxruntime", model)
    assert (finding.state, finding.fix) == ("broken", "pip install onnxruntime again")


def test_what_is_not_installed_is_absent_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor._runtime("X", "onnx", "no-such-package", "pip install x", doctor._lively_model())
    assert (finding.state, finding.fix) == ("absent", "pip install x")


def test_a_board_that_was_named_and_cannot_be_reached_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"target": "ssh://nobody@127.0.0.1:1"}
    findings = found(parse_params({"ascend": nowhere, "rknn_eval": nowhere}), monkeypatch, ALL)
    for name in ("Ascend board", "Rockchip board"):
        assert findings[name].state == "broken"
        assert "cannot be reached" in findings[name].facts


@pytest.mark.slow
def test_a_board_is_looked_at_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(tmp_path / "sshd") as server:
        monkeypatch.setenv("HOME", str(server.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        smi = server.root / "npu-smi"
        smi.write_text("#!/bin/sh\necho '| 0     310             | OK |'\n")
        smi.chmod(0o755)
        path = f'export PATH="{server.root}:$PATH"'

        def board(set_env: str, **ascend: str) -> Finding:
            target = f"ssh://{server.target().user}@127.0.0.1:{server.port}{server.runs}"
            params = parse_params({"ascend": {"target": target, "set_env": set_env, **ascend}})
            finding = doctor._board(doctor._makers(params)[0])
            assert list(server.runs.iterdir()) == []
            return finding

        fine = board(server.set_env(path))
        assert fine.state == "ok"
        assert fine.facts.startswith(f"ssh://{server.target().user}@127.0.0.1")
        assert fine.facts.endswith("GB free, 1 devices, Ascend310")

        smi.write_text("#!/bin/sh\necho '| 0     310B4           | OK |'\n")
        other = board(server.set_env(path))
        assert (other.state, other.fix) == ("broken", "atc.soc_version=Ascend310B4, and compile again")

        bare = board(server.set_env(acl=False))
        assert (bare.state, bare.fix) == ("broken", "install the runtime, or name its set_env.sh in ascend.set_env")
        assert bare.facts.endswith("GB free; no working CANN: No module named 'acl'")

        wrong = board(server.set_env(), python="python-that-is-not-there")
        assert wrong.state == "broken"
        assert "as python-that-is-not-there (ascend.python)" in wrong.facts


@pytest.mark.slow
def test_a_board_of_rockchip_is_looked_at_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(tmp_path / "sshd") as server:
        monkeypatch.setenv("HOME", str(server.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        target = f"ssh://{server.target().user}@127.0.0.1:{server.port}{server.runs}"

        def board(python: str, **rknn: str) -> Finding:
            asked = {"rknn_eval": {"target": target, "python": python}, "rknn": rknn}
            finding = doctor._board(doctor._makers(parse_params(asked))[1])
            assert list(server.runs.iterdir()) == []
            return finding

        fine = board(server.python())
        assert (fine.state, fine.fix) == ("ok", "")
        assert fine.facts.endswith("GB free, chip unknown")  # no device tree of Rockchip's where tests run

        bare = board(server.python(acl=False))
        assert (bare.state, bare.fix) == ("broken", "pip install rknn-toolkit-lite2")
        assert bare.facts.endswith("GB free; no working rknnlite: No module named 'rknnlite'")

        wrong = board("python-that-is-not-there")
        assert "as python-that-is-not-there (rknn_eval.python)" in wrong.facts


def test_a_chip_here_must_be_the_one_that_is_compiled_for_where_it_is_to_run() -> None:
    facts = {"acl": "none", "devices": 0, "rknnlite": "ok", "chip": "rk3568"}

    def here(**asked: dict[str, str]) -> Finding:
        return doctor._chip(doctor._makers(parse_params(asked))[1], facts)

    assert here() == Finding("Rockchip chip here", "ok", "rk3568")
    local = {"target": "local"}
    assert here(rknn_eval=local).fix == "rknn.target=rk3568, and compile again"
    assert here(rknn_eval=local, rknn={"target": "rk3568"}).state == "ok"
    facts["rknnlite"] = "No module named 'rknnlite'"
    assert here(rknn_eval=local).state == "broken"
    assert here().fix == "beside a chip: pip install rknn-toolkit-lite2"


def test_the_quantiser_of_openvino_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._nncf().state == ("ok" if importlib.util.find_spec("nncf") else "absent")

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert (doctor._nncf().state, doctor._nncf().fix) == ("absent", "pip install 'yoloslim[runtimes]'")


def test_what_is_required_and_missing_is_broken_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_runtime", lambda name, *_: Finding(name, "ok", "[brackets] survive"))
    path = tmp_path / "params.yaml"
    path.write_text("ascend: {require: true}\n")
    result = CliRunner().invoke(app, ["doctor", "--params", str(path)], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "does not work: atc, Ascend chip here" in result.output
    assert "[brackets] survive" in result.output
    path.write_text("{}\n")
    assert CliRunner().invoke(app, ["doctor", "--params", str(path)]).exit_code == 0
