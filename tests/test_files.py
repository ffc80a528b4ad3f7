import errno
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from yoloslim.errors import YoloslimError
from yoloslim.files import (
    _temporary,
    atomic_folder,
    atomic_path,
    read_json,
    scratch_folder,
    sha256_file,
    sweep,
    write_json,
    write_text,
)
from yoloslim.models.store import model_name

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


def test_what_a_killed_writer_left_is_removed_by_the_next(old_file: Path) -> None:
    body = "with atomic_path(path) as t:\n    t.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    assert killed_in(body, old_file) == -signal.SIGKILL
    assert len(list(old_file.parent.iterdir())) == 2
    write_text(old_file.with_name("other.txt"), "x")
    assert sorted(path.name for path in old_file.parent.iterdir()) == ["other.txt", old_file.name]


def test_what_a_zombie_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        left = tmp_path / re.sub(r"\.\d+-", f".{process.pid}-", _temporary(tmp_path / "a.npy").name)
        left.write_text("half")
        sweep(tmp_path)
        assert left.exists()
        process.kill()
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            pass
        sweep(tmp_path)
        assert not left.exists()


def test_a_scratch_folder_goes_with_its_writer_or_by_the_next(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "voc.extract") as folder:
        assert folder.parent == tmp_path
        (folder / "a").write_text("x")
    assert list(tmp_path.iterdir()) == []
    body = (
        "from yoloslim.files import scratch_folder\n"
        "with scratch_folder(path) as f:\n    (f / 'a').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert killed_in(body, tmp_path / "voc.extract") == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_folder(tmp_path / "voc"):
        assert [path.name.split(".")[1] for path in tmp_path.iterdir()] == ["voc"]


def test_a_folder_that_was_moved_aside_when_its_writer_died_comes_back(old_folder: Path) -> None:
    body = (
        "from yoloslim import files\n"
        "files._rename_or_bring_back = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with atomic_folder(path) as t:\n    (t / 'b').write_text('half')"
    )
    assert killed_in(body, old_folder) == -signal.SIGKILL
    assert not old_folder.exists()
    sweep(old_folder.parent)
    assert (old_folder / "a.txt").read_text() == "old"
    assert list(old_folder.parent.iterdir()) == [old_folder]


def test_what_living_writers_and_other_machines_write_stays(old_file: Path) -> None:
    folder = old_file.parent
    ours = _temporary(old_file).name
    elsewhere = re.sub(r"-[0-9a-f]{8}-", "-00000000-", ours)
    dead_elsewhere = re.sub(r"\.\d+-[0-9a-f]{8}-", ".999999999-00000000-", ours)
    people = [".notes.999999999.tmp", "notes.tmp", ".x.999999999-zzzzzzzz-0.tmp"]
    for name in (ours, elsewhere, dead_elsewhere, *people):
        (folder / name).write_text("x")
    sweep(folder)
    assert {path.name for path in folder.iterdir()} == {old_file.name, ours, elsewhere, dead_elsewhere, *people}
    os.utime(folder / dead_elsewhere, (0, 0))  # after a day nobody writes it any more
    sweep(folder)
    assert not (folder / dead_elsewhere).exists()


def test_two_writers_of_one_process_do_not_meet(old_file: Path) -> None:
    with atomic_path(old_file) as one, atomic_path(old_file) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert old_file.read_text() == "one"


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_a_folder_where_a_file_belongs_is_said(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = rf"^{re.escape(place)} is a folder that is there already; name what is to be written in it"
    with pytest.raises(YoloslimError, match=said):
        write_text(Path(place), "x")
    with pytest.raises(YoloslimError, match=said):
        model_name(Path(place))
    assert not list(tmp_path.iterdir())
