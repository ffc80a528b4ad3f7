import errno
import os
from pathlib import Path

import pytest

from tests.disks import small_disk
from yoloslim.disk import disk_sentence, reserve
from yoloslim.errors import YoloslimError
from yoloslim.files import write_text


@pytest.mark.parametrize("how", ["fallocate", "unknown to the file system", "unknown to the system"])
def test_room_is_reserved_or_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    if how == "unknown to the file system":
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    if how == "unknown to the system":
        monkeypatch.delattr(os, "posix_fallocate")
    with small_disk(tmp_path / "disk", "1m") as disk:
        reserve(disk / "a", 500_000, "buy a disk")
        assert (disk / "a").stat().st_blocks * 512 >= 500_000
        with pytest.raises(
            YoloslimError, match=r"0\.8 MB are needed in \S+/disk and 0\.5 MB are free there: buy a disk"
        ):
            reserve(disk / "b", 800_000, "buy a disk")
        assert [path.name for path in disk.iterdir()] == ["a"]
        with pytest.raises(YoloslimError, match=r"cannot write .*c: No space left on device \(0\.\d MB are free there"):
            write_text(disk / "c", "x" * 900_000)


def test_forbidden_place_is_named() -> None:
    sentence = disk_sentence(PermissionError(errno.EACCES, "Permission denied", "/a/b"))
    assert sentence == "/a/b: Permission denied; give this user the right to it, or name another place"
