"""What people read on a terminal of 80 columns: nothing is wider, and no word is cut off."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from yoloslim.cli import app
from yoloslim.data.summary import show
from yoloslim.tasks import doctor
from yoloslim.tasks.doctor import Finding

LONG = "a-name-of-a-file-that-is-longer-than-a-line-of-a-terminal-and-has-no-space-to-break-it-at.jpg"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def check(text: str) -> None:
    assert max(map(len, text.splitlines())) <= 80, text
    assert "…" not in text, text


def test_inspect(model: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", str(model), "--layers"])
    assert done.exit_code == 0, done.output
    check(done.output)
    for scope in ("source", "slim", "free", "coupled"):
        assert f" {scope} " in done.output
    assert "model.3.m.0.cv1.bn " in done.output


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    fix = "pip install 'yoloslim[runtimes]' and then " + "-".join(map(str, range(30)))
    findings = [
        Finding("ONNX Runtime", "ok", "1.23.4; differs from PyTorch by 1.2e-06"),
        Finding("X", "broken", LONG, fix),
    ]
    monkeypatch.setattr(doctor, "examine", lambda params: iter(findings))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    check(done.output)
    assert "does not work: X" in done.output
    assert all(str(number) in done.output for number in range(30))


def test_what_the_data_stage_found() -> None:
    splits = ("train", "val", "test")
    report: dict[str, Any] = {
        "classes": [LONG, "cat"],
        **{key: dict.fromkeys(splits, 120_000) for key in ("images", "images_without_objects", "boxes_total")},
        "boxes": {split: {LONG: 1_234_567, "cat": 7} for split in splits},
        "left_out": [{"reason": f"{LONG}: cannot be decoded", "boxes": 3}],
        "images_without_xml": [LONG],
        "dropped_boxes": [{"file": LONG, "class": "cat", "box": [1, 2, 3, 4], "reason": "shorter side below 2 px"}],
        **{"size_mismatches": [], "duplicates": [], "notes": [f"no boxes to train on: {LONG}"]},
    }
    told = Console(width=80, file=io.StringIO(), record=True)
    show(report, told)
    text = told.export_text()
    check(text)
    assert text.count("1234567") == 3
    assert "boxes dropped: too small" in " ".join(text.split())
