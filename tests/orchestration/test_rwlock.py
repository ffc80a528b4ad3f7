"""DVC's table of readers and writers after a kill; with DVC itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from yoloslim.orchestration.rwlock import mend


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path


def dvc(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *words], cwd=checkout, capture_output=True, text=True)


@pytest.mark.slow
def test_dvc_runs_again_after_a_kill_while_it_wrote_its_table(tmp_path: Path) -> None:
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: touch x\n    outs: [x]\n")
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text("")
    assert "JSON structure is corrupted" in dvc(tmp_path, "repro").stderr
    subprocess.run([sys.executable, "-m", "yoloslim.orchestration.rwlock"], cwd=tmp_path, check=True)
    assert dvc(tmp_path, "repro").returncode == 0


@pytest.mark.parametrize("text", ["", '{"read"', "[]", "[" * 100000])
def test_a_table_that_cannot_be_read_goes(text: str, checkout: Path) -> None:
    path = checkout / ".dvc" / "tmp" / "rwlock"
    path.write_text(text)
    assert mend(checkout)
    assert not path.exists()


def test_a_sound_table_or_none_is_left_alone(checkout: Path) -> None:
    assert not mend(checkout)
    path = checkout / ".dvc" / "tmp" / "rwlock"
    path.write_text('{"read": {}, "write": {}}')
    assert not mend(checkout)
    assert path.exists()
