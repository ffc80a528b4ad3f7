"""Archives from strangers, unpacked without letting them write anywhere else."""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from yoloslim.data.folders import MAX_DEPTH, is_image, is_side_file
from yoloslim.errors import DataError
from yoloslim.runner.instead import BEGINNING, instead

MAX_BYTES = 64 * 2**30
"""Unpacked size above which an archive is refused: several times the largest VOC release."""
MAX_MEMBERS = 4_000_000
_CHUNK = 2**20


_OTHERS = {b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7z archive", b"\x28\xb5\x2f\xfd": "packed by zstd"}
"""Beginnings of archives that are not read."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: str  # file, folder, link, other
    link: str = ""


def extract(archive: Path, folder: Path, max_bytes: int = MAX_BYTES) -> list[str]:
    """Unpack a tar (plain, gz, bz2, xz) or zip into `folder`, after every member has been looked at.

    Only folders and plain files with relative names are written, without side files of operating systems. A link to a
    file of the archive becomes a copy of it; other links that stay inside are left out.

    Returns:
        Notes: what was left out.

    Raises:
        DataError: missing, neither tar nor zip, damaged to its last byte, encrypted, too large, or a member that would
            leave the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
            return _extract_zip(archive, folder, max_bytes)
        return _extract_tar(archive, folder, max_bytes)
    except FileNotFoundError as error:
        raise DataError(f"archive {archive} is missing; give the path of a tar or zip file, or a folder") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, ValueError) as error:
        reason = str(error).partition(":\n")[0]  # what each kind of compression says follows
        raise DataError(f"archive {archive} is damaged or no tar file or zip: {reason}{_advice(archive)}") from error
    except NotImplementedError as error:
        raise DataError(f"archive {archive} cannot be unpacked: {error}; pack it again as zip or tar") from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 report damage so
            raise DataError(f"archive {archive} is damaged: {error}") from error
        raise DataError(f"archive {archive} cannot be unpacked: {error.strerror}") from error


def _advice(archive: Path) -> str:
    with archive.open("rb") as stream:
        head = stream.read(BEGINNING)
    if other := instead(head):
        return f". It is {other}"
    if is_image(archive):
        return ". It is a picture: name the folder of the set"
    kind = next((kind for start, kind in _OTHERS.items() if head.startswith(start)), "")
    return f". It is {kind}: unpack it, and name the folder" if kind else ""


def _extract_tar(archive: Path, folder: Path, max_bytes: int) -> list[str]:
    with tarfile.open(archive) as tar:
        members, guard = [], _Guard(archive, max_bytes)
        for item in tar:
            kind = "file" if item.isfile() else "folder" if item.isdir() else "other"
            kind = "link" if item.issym() or item.islnk() else kind
            base = PurePosixPath(item.name).parent
            link = item.linkname if item.islnk() or item.linkname.startswith("/") else f"{base}/{item.linkname}"
            members.append(guard.check(_Member(item.name, item.size, kind, link if kind == "link" else "")))
        while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
            pass  # to the very end, where the checksum of the compression stands
        for item, member in zip(tar.getmembers(), members, strict=True):
            if member.kind in ("file", "folder") and not _is_side(member.name):
                item.mode = stat.S_IRWXU if item.isdir() else stat.S_IRUSR | stat.S_IWUSR
                tar.extract(item, folder, filter="data")
    return _finish(members, folder)


def _extract_zip(archive: Path, folder: Path, max_bytes: int) -> list[str]:
    with zipfile.ZipFile(archive) as packed:
        members, guard = [], _Guard(archive, max_bytes)
        for item in packed.infolist():
            if item.flag_bits & 1:
                raise DataError(f"archive {archive} is encrypted; unpack it yourself and name the folder")
            mode = item.external_attr >> 16
            kind = "folder" if item.is_dir() else "link" if stat.S_ISLNK(mode) else "file"
            name = item.filename.replace("\\", "/")  # as some Windows tools pack
            link = ""
            if kind == "link" and item.file_size < 4096:
                link = packed.read(item).decode("utf-8", "replace")
                link = link if link.startswith("/") else f"{PurePosixPath(name).parent}/{link}"
            members.append(guard.check(_Member(name, item.file_size, kind, link)))
        for item, member in zip(packed.infolist(), members, strict=True):
            if member.kind != "file" or _is_side(member.name):
                continue
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(item) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, _CHUNK)
    return _finish(members, folder)


class _Guard:
    """Looks at every member before anything behind it is decompressed."""

    def __init__(self, archive: Path, max_bytes: int) -> None:
        self._archive, self._max_bytes = archive, max_bytes
        self._total = self._count = 0

    def check(self, member: _Member) -> _Member:
        """Refuse what would leave the folder, or be too much."""
        name, shown = PurePosixPath(member.name), ascii(member.name[:80])
        self._total += member.size
        self._count += 1
        if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
            raise self._refused(f"member {shown} would leave the folder")
        if len(name.parts) > MAX_DEPTH:
            raise self._refused(f"member {shown}... lies {len(name.parts)} folders deep")
        if any(len(os.fsencode(part)) > 255 for part in name.parts) or "\0" in member.name:
            raise self._refused(f"member {shown}... has a name that no disk can hold")
        if member.kind == "other":
            raise self._refused(f"member {shown} is a device or a pipe")
        if member.kind == "link" and _inside(member.link) is None:
            raise self._refused(f"member {shown} is a link out of the folder")
        if self._count > MAX_MEMBERS:
            raise self._refused(f"it has more than {MAX_MEMBERS} members")
        if self._total > self._max_bytes:
            raise self._refused(
                f"it unpacks to {self._total / 2**30:.1f} GiB, more than {self._max_bytes / 2**30:g} GiB"
            )
        return member

    def _refused(self, why: str) -> DataError:
        return DataError(f"archive {self._archive} is refused: {why}")


def _finish(members: Iterable[_Member], folder: Path) -> list[str]:
    """Make copies of what links lead to; returns notes on what was left out."""
    skipped, sides = [], 0
    for member in members:
        sides += _is_side(member.name)
        if member.kind != "link" or _is_side(member.name):
            continue
        source, target = folder / (_inside(member.link) or ""), folder / member.name
        if source.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        else:
            skipped.append(member.name)
    notes = (
        [f"{len(skipped)} links in the archive lead to no file and were left out: {skipped[0]!a}"] if skipped else []
    )
    return notes + ([f"{sides} side files of an operating system in the archive were ignored"] if sides else [])


def _is_side(name: str) -> bool:
    return any(is_side_file(part) for part in PurePosixPath(name).parts)


def _inside(link: str) -> str | None:
    """Where a link leads, relative to the folder; None if that is outside."""
    target = os.path.normpath(link)
    return None if target.startswith(("..", "/")) or "\\" in link or ":" in link else target
