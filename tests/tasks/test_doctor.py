from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

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


OTHERS = ("OpenVINO", "ncnn")
ALL = ("ONNX Runtime", *OTHERS)


def test_runtimes_are_really_run(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = found(Params(), monkeypatch, OTHERS)
    assert findings["ONNX Runtime"].state == "ok"
    assert "differs from PyTorch by" in findings["ONNX Runtime"].facts
    assert findings["Ascend board"].state == "absent"
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
    params = parse_params({"ascend": {"target": "ssh://nobody@127.0.0.1:1"}})
    board = found(params, monkeypatch, ALL)["Ascend board"]
    assert board.state == "broken"
    assert "cannot be reached" in board.facts


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
