"""What people are told to type is there to be typed."""

from pathlib import Path

import pytest

from yoloslim.commands import ACTIVATE, PLAIN, to_type
from yoloslim.report.page.provenance import commands
from yoloslim.stages.track import next_lines
from yoloslim.tracking.calls import later

ROOT = Path(__file__).parents[1]


def test_in_a_checkout_they_are_targets_of_its_makefile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert [to_type(target) for target in PLAIN] == [f"make {target}" for target in PLAIN]


def test_a_project_of_the_wheel_is_told_no_target_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Makefile").write_text("all:\n\techo mine\n")
    told = [next_lines(), later(), *(command for _, command in commands(None))]
    assert not [text for text in told if "make " in text]
    assert "  python -m yoloslim.stages.ui " in told[0]
    assert told[1] == "nothing is lost, run `python -m pipeline.track` later"
    assert told[-1] == "dvc repro"


def test_a_terminal_without_the_environment_of_make_setup_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert ACTIVATE not in next_lines()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    assert next_lines().splitlines()[1].startswith(f"  {ACTIVATE}  ")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / ".venv"))
    assert ACTIVATE not in next_lines()
