"""DVC's own files after kills in the middle of a write; with DVC itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from dvc.lock import make_lock

from yoloslim.orchestration.mending import HALF, mend


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path


def dvc(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *words], cwd=checkout, capture_output=True, text=True)


STAGES = """
stages:
  a: {cmd: date +%s%N > x, deps: [w], outs: [x]}
  b: {cmd: date +%s%N > y, deps: [x], metrics: [y: {cache: false}]}
"""


@pytest.mark.slow
def test_dvc_runs_again_after_kills_while_it_wrote_its_files_and_loses_nothing(tmp_path: Path) -> None:
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "w").touch()
    assert dvc(tmp_path, "repro").returncode == 0
    made = [(tmp_path / name).read_text() for name in "xy"]
    record = (tmp_path / "dvc.lock").read_text()
    for half in ("", record[: record.index("outs:") + 8]):
        (tmp_path / ".dvc" / "tmp" / "rwlock").write_text("")
        (tmp_path / "dvc.lock").write_text(half)
        assert dvc(tmp_path, "repro").returncode != 0
        done = subprocess.run(
            [sys.executable, "-m", "yoloslim.orchestration.mending"],
            **{"cwd": tmp_path, "capture_output": True, "text": True, "check": True},
        )
        assert "takes what was done from its run cache" in done.stderr
        done = dvc(tmp_path, "repro")
        assert (done.returncode, "Running stage" in done.stdout) == (0, False), done.stdout
        assert [(tmp_path / name).read_text() for name in "xy"] == made
        assert (tmp_path / "dvc.lock").read_text() == record


@pytest.mark.parametrize("text", ["", '{"read"', "[]", "[" * 100000])
def test_a_table_that_cannot_be_read_goes(text: str, checkout: Path) -> None:
    path = checkout / ".dvc" / "tmp" / "rwlock"
    path.write_text(text)
    assert mend(checkout)
    assert not path.exists()


WHOLE = """\
schema: '2.0'
stages:
  a:
    cmd: touch x
    outs:
    - path: x
      hash: md5
      md5: d41d8cd98f00b204e9800998ecf8427e
      size: 0
"""


@pytest.mark.parametrize("length", [0, 5, 16, 28, WHOLE.index("md5")])
def test_half_a_record_is_put_aside(length: int, checkout: Path) -> None:
    (checkout / "dvc.lock").write_text(WHOLE[:length])
    assert mend(checkout)
    assert not (checkout / "dvc.lock").exists()
    assert (checkout / HALF).read_text() == WHOLE[:length]


def test_a_file_that_a_living_dvc_is_writing_is_left_alone(checkout: Path) -> None:
    (checkout / "dvc.lock").write_text("")
    with make_lock(str(checkout / ".dvc/tmp/lock"), tmp_dir=str(checkout / ".dvc/tmp")):
        assert not mend(checkout)
    assert (checkout / "dvc.lock").exists()


def test_sound_files_or_none_are_left_alone(checkout: Path) -> None:
    assert not mend(checkout)
    path = checkout / ".dvc" / "tmp" / "rwlock"
    path.write_text('{"read": {}, "write": {}}')
    (checkout / "dvc.lock").write_text(WHOLE)
    assert not mend(checkout)
    assert path.exists()
    assert (checkout / "dvc.lock").read_text() == WHOLE
