"""Files are read once as long as they do not change."""

from pathlib import Path

import pytest

from yoloslim.data import digests as module
from yoloslim.data.digests import Digests
from yoloslim.files import sha256_file


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    monkeypatch.setattr(module, "sha256_file", lambda path: read.append(path) or sha256_file(path))
    return read


def test_a_second_start_reads_only_what_changed(tmp_path: Path, reads: list[Path]) -> None:
    paths = [tmp_path / f"{name}.jpg" for name in "abc"]
    for path in paths:
        path.write_text(path.stem)
    first = Digests(tmp_path / "cache").of(paths)
    assert first == [sha256_file(path) for path in paths]
    assert sorted(reads) == paths
    reads.clear()
    assert Digests(tmp_path / "cache").of(paths) == first
    assert reads == []
    paths[1].write_text("other")
    assert Digests(tmp_path / "cache").of(paths)[1] == sha256_file(paths[1]) != first[1]
    assert reads == [paths[1]]


@pytest.mark.parametrize("kept", ["{", "[]", '{"version": 1}', '{"version": 1, "files": {"a": 3}}', "\x00"])
def test_a_damaged_memory_is_as_good_as_none(kept: str, tmp_path: Path) -> None:
    (tmp_path / "digests.json").write_text(kept)
    (tmp_path / "a").write_text("a")
    assert Digests(tmp_path).of([tmp_path / "a"]) == [sha256_file(tmp_path / "a")]
