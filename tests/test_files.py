import errno
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from yoloslim.errors import YoloslimError
from yoloslim.files import atomic_folder, atomic_path, read_json, sha256_file, write_json, write_text

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    path = tmp_path / "voc"
    path.mkdir()
    (path / "a.txt").write_text("old")
    return path


def killed_in(body: str, path: Path) -> int:
    """Run a writer in a process of its own that dies by SIGKILL with half of its work done."""
    code = f"""
import os, signal
from pathlib import Path
from yoloslim.files import atomic_folder, atomic_path
path = Path({str(path)!r})
{body}
"""
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_file_is_replaced_and_nothing_else_is_left(old_file: Path) -> None:
    with atomic_path(old_file) as temporary:
        temporary.write_text("new")
        assert old_file.read_text() == "old"
        assert temporary.suffix == ".json"
    assert old_file.read_text() == "new"
    assert list(old_file.parent.iterdir()) == [old_file]


def test_missing_parents_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "ü")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "ü".encode()


def test_exception_leaves_the_old_file(old_file: Path) -> None:
    def fail() -> None:
        with atomic_path(old_file) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert old_file.read_text() == "old"
    assert list(old_file.parent.iterdir()) == [old_file]


def test_full_disk_leaves_the_old_file_and_names_it(old_file: Path) -> None:
    def fill() -> None:
        with atomic_path(old_file) as temporary:
            temporary.write_text("half")
            raise FULL

    with pytest.raises(YoloslimError, match=r"cannot write .*result\.json: No space left on device"):
        fill()
    assert old_file.read_text() == "old"
    assert list(old_file.parent.iterdir()) == [old_file]


def test_kill_leaves_the_old_file(old_file: Path) -> None:
    body = "with atomic_path(path) as t:\n    t.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    assert killed_in(body, old_file) == -signal.SIGKILL
    assert old_file.read_text() == "old"


def test_parent_that_cannot_be_made_is_said(old_file: Path) -> None:
    with pytest.raises(YoloslimError, match="cannot write"):
        write_text(old_file / "below" / "a.txt", "x")
    with pytest.raises(YoloslimError, match="cannot write"), atomic_folder(old_file / "below"):
        pass
    assert old_file.read_text() == "old"


def test_folder_is_replaced_as_a_whole(old_folder: Path) -> None:
    with atomic_folder(old_folder) as temporary:
        (temporary / "b.txt").write_text("new")
        assert [p.name for p in old_folder.iterdir()] == ["a.txt"]
    assert [p.name for p in old_folder.iterdir()] == ["b.txt"]
    assert list(old_folder.parent.iterdir()) == [old_folder]


@pytest.mark.parametrize(("error", "seen"), [(FULL, YoloslimError), (KeyboardInterrupt(), KeyboardInterrupt)])
def test_failure_leaves_the_old_folder(old_folder: Path, error: BaseException, seen: type[BaseException]) -> None:
    def fail() -> None:
        with atomic_folder(old_folder) as temporary:
            (temporary / "b.txt").write_text("half")
            raise error

    with pytest.raises(seen):
        fail()
    assert (old_folder / "a.txt").read_text() == "old"
    assert list(old_folder.parent.iterdir()) == [old_folder]


def test_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    old_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise FULL
        return rename(self, target)

    def fail() -> None:
        with atomic_folder(old_folder) as temporary:
            (temporary / "b.txt").write_text("new")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(YoloslimError, match="nothing was replaced"):
        fail()
    assert (old_folder / "a.txt").read_text() == "old"
    assert list(old_folder.parent.iterdir()) == [old_folder]


def test_kill_leaves_the_old_folder(old_folder: Path) -> None:
    body = "with atomic_folder(path) as t:\n    (t / 'b').write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    assert killed_in(body, old_folder) == -signal.SIGKILL
    assert [p.name for p in old_folder.iterdir()] == ["a.txt"]


def test_json_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2.5, "ü"]})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2.5, "ü"]}


def test_json_that_others_could_not_read_is_refused(old_file: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(old_file, {"map50": math.nan})
    assert old_file.read_text() == "old"


def test_missing_json_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(YoloslimError, match=r"a\.json is missing; run the stage that makes it"):
        read_json(tmp_path / "a.json")


def test_broken_json_is_said(old_file: Path) -> None:
    with pytest.raises(YoloslimError, match="not valid JSON"):
        read_json(old_file)


def test_sha256_by_the_standard_vector(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
