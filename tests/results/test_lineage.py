import subprocess
from pathlib import Path

import pytest

from yoloslim.errors import TrackingError
from yoloslim.results.lineage import commit_of, hashes_of, lineage_tags, outputs

LOCK = """
schema: '2.0'
stages:
  data:
    cmd: python -m pipeline.data
    outs:
    - path: data/voc
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
    - path: metrics/data.json
      hash: md5
      md5: '11111111111111111111111111111111'
  prune@50:
    cmd: python -m pipeline.prune --percent 50
    outs:
    - path: metrics/prune/50.json
      hash: md5
      md5: '22222222222222222222222222222222'
    - path: models/prune/50
      hash: md5
      md5: 33333333333333333333333333333333.dir
  probe@40:
    cmd: python -m pipeline.probe --percent 40
    outs:
    - path: metrics/probe/40.json
      hash: md5
      md5: '44444444444444444444444444444444'
"""


def test_a_stage_stands_for_its_model_or_data_else_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(LOCK)
    hashes = hashes_of(outputs(tmp_path / "dvc.lock"))
    assert hashes == {
        "data": "0123456789abcdef0123456789abcdef.dir",
        "prune@50": f"{'3' * 32}.dir",
        "probe@40": "4" * 32,
    }
    assert lineage_tags(hashes, 50) == {"dvc.data": hashes["data"], "dvc.prune": hashes["prune@50"]}
    assert lineage_tags(hashes) == {"dvc.data": hashes["data"]}


def test_without_lock_or_repository_there_is_nothing(tmp_path: Path) -> None:
    assert hashes_of(outputs(tmp_path / "dvc.lock")) == {}
    assert commit_of(tmp_path) == ""


def test_commit_is_the_one_checked_out(tmp_path: Path) -> None:
    author = ["-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    (head,) = (tmp_path / ".git/refs/heads").iterdir()
    assert commit_of(tmp_path) == head.read_text().strip()


@pytest.mark.parametrize("text", ["<<<<<<< ours", "- a list", "stages:\n  data:\n    outs: 3\n"])
def test_a_damaged_lock_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(TrackingError, match=r"dvc\.lock is not what DVC writes"):
        hashes_of(outputs(tmp_path / "dvc.lock"))
