import io
import tarfile
from pathlib import Path

import pytest

from yoloslim.data.archives import extract
from yoloslim.errors import DataError


def _tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            member.size = 5 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"hello") if member.isreg() else None)
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_plain_files_are_unpacked_without_their_modes(tmp_path: Path) -> None:
    member = _member("folder/file.txt")
    member.mode = 0o4777
    extract(_tar(tmp_path / "a.tar", member), tmp_path / "out")
    file = tmp_path / "out" / "folder" / "file.txt"
    assert file.read_text() == "hello"
    assert file.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize(
    "member",
    [
        _member("../escaped.txt"),
        _member("folder/../../escaped.txt"),
        _member("/escaped.txt"),
        _member("folder\\..\\escaped.txt"),
        _member("c:/escaped.txt"),
        _member("link", tarfile.SYMTYPE, "../"),
        _member("hard", tarfile.LNKTYPE, "/etc/passwd"),
        _member("pipe", tarfile.FIFOTYPE),
        _member("device", tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type!r}",
)
def test_archive_that_reaches_out_is_refused_before_anything_is_written(
    tmp_path: Path, member: tarfile.TarInfo
) -> None:
    archive = _tar(tmp_path / "a.tar", _member("good.txt"), member)
    with pytest.raises(DataError, match="refused"):
        extract(archive, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").rglob("*.txt")) == []
    assert not (tmp_path / "escaped.txt").exists()


def test_archive_above_the_size_cap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unpacks to"):
        extract(_tar(tmp_path / "a.tar", _member("a"), _member("b")), tmp_path / "out", max_bytes=9)


@pytest.mark.parametrize("data", [b"", b"this is no archive"])
def test_file_that_is_no_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tar is damaged or no tar file"):
        extract(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize(
    ("head", "kind"), [(b"Rar!\x1a\x07\x00", "a RAR archive"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive")]
)
def test_other_archives_are_called_what_they_are(tmp_path: Path, head: bytes, kind: str) -> None:
    (tmp_path / "a.bin").write_bytes(head + bytes(2000))
    with pytest.raises(DataError, match=rf"no tar file or zip: [^\n]*\. It is {kind}: unpack it, and name the folder"):
        extract(tmp_path / "a.bin", tmp_path / "out")


def test_tar_cut_short_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("large")
        member.size = 100_000
        tar.addfile(member, io.BytesIO(bytes(100_000)))
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(DataError, match="damaged"):
        extract(archive, tmp_path / "out")


def test_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.tar is missing"):
        extract(tmp_path / "nowhere.tar", tmp_path / "out")


def test_a_picture_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a picture")
    with pytest.raises(DataError, match=r"It is a picture: name the folder of the set$"):
        extract(tmp_path / "a.jpg", tmp_path / "out")
