"""Files that are either whole or absent: write to a temporary name beside the target, then rename."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from yoloslim.documents import read_json_file
from yoloslim.errors import YoloslimError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a system says when there is no room."""
FORBIDDEN = (errno.EACCES, errno.EPERM)
DISK = (*FULL, *FORBIDDEN, errno.EROFS, errno.EIO, errno.EFBIG)
"""What a system says when a disk, and no program, is the cause."""
NO_PLACE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
"""What it says of a name that somebody gave and that no file there can have."""
SAID = (*DISK, *NO_PLACE)
"""Errors that a command ends with in a sentence, wherever they come from."""
_BLOCK = 1 << 22
_FOREIGN_S = 86_400.0
_SEAL, _SEAL_BLOCK = b"\nyoloslim-seal-1\n", 1 << 20
_seen_whole: set[tuple[str, int, int, int, int]] = set()
_SERIAL = count()
_FICLONE = 0x40049409
"""Linux' request to share blocks, of linux/fs.h."""
_OURS = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-(?P<place>[0-9a-f]{8})-\d+\.(tmp(\..*)?|old)")


@contextmanager
def atomic_path(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary file name beside `path`; on success it replaces `path`, on failure it is removed.

    What killed writers left in that folder is removed first.

    Args:
        path: the file to write.
        sync: wait until the disk has it, so that a power cut leaves one of both versions whole; what is sealed is
            told from what is half there without.

    Raises:
        YoloslimError: the disk refused (full, read-only); whatever stood at `path` before stands there still.
    """
    temporary = _temporary(path, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        yield temporary
        if sync:
            _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise YoloslimError(f"cannot write {path}: {disk_reason(error, path.parent)}; nothing was replaced") from error
    finally:
        with suppress(OSError):  # it may not be there, or the folder may be no folder: both have been said
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it replaces the folder `path` as a whole.

    Raises:
        YoloslimError: the disk refused; whatever stood at `path` before stands there still.
    """
    temporary = _temporary(path)
    former = temporary.with_suffix(".old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary.mkdir(parents=True)
        yield temporary
        if path.is_dir():
            path.replace(former)  # two renames, so that no folder is ever half removed
        _rename_or_bring_back(temporary, path, former)
    except OSError as error:
        raise YoloslimError(f"cannot write {path}: {disk_reason(error, path.parent)}; nothing was replaced") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of `beside`, that is removed: here, or by the next writer after a kill."""
    folder = _temporary(beside)
    beside.parent.mkdir(parents=True, exist_ok=True)
    sweep(beside.parent)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder; a folder that was moved aside and never replaced comes back.

    Only processes of this machine (of this container) can be known to be dead: the names of temporary files hold the
    process and the place. What others left is removed after a day.
    """
    try:
        left = [(entry, match) for entry in os.scandir(folder) if (match := _OURS.fullmatch(entry.name))]
    except OSError:
        return
    for entry, match in left:
        path = Path(entry.path)
        with suppress(OSError):
            old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _FOREIGN_S
            if _lives(int(match["pid"])) if match["place"] == _place() else not old:
                continue
            if path.suffix == ".old" and not path.with_name(match["name"]).exists():
                path.replace(path.with_name(match["name"]))
            elif entry.is_dir(follow_symlinks=False):
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def reserve(path: Path, size: int, way_out: str) -> None:
    """Make a file of so many bytes that the disk really has, so that filling it cannot fail for want of room.

    Args:
        path: the file, made or emptied.
        size: bytes.
        way_out: what a person can do where there are too few, for the message.

    Raises:
        YoloslimError: the disk has less room; says what is needed and what is free.
    """
    try:
        with path.open("wb") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, size)
            except (AttributeError, OSError) as error:  # some systems and file systems have none of it
                if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                for start in range(0, size, _BLOCK):
                    stream.write(bytes(min(_BLOCK, size - start)))
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno in FULL:
            free = shutil.disk_usage(path.parent).free
            raise YoloslimError(
                f"{size / 1e6:.1f} MB are needed in {path.parent} and {free / 1e6:.1f} MB are free there: {way_out}"
            ) from error
        raise


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write bytes at a place of an open file, all of them."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def disk_reason(error: OSError, folder: Path | None = None) -> str:
    """What a disk said, with the room that is left where it said that there is none."""
    reason = error.strerror or str(error)
    if error.errno not in FULL or folder is None:
        return reason
    with suppress(OSError):
        return f"{reason} ({shutil.disk_usage(folder).free / 1e6:.1f} MB are free there: make room)"
    return reason


def disk_sentence(error: OSError) -> str:
    """An error of a disk for people."""
    if error.filename is None:
        return f"a disk refused a file: {error.strerror or error}; make room (`df -h` shows where there is none)"
    path = Path(os.fsdecode(error.filename))
    if error.errno in NO_PLACE:
        name = str(path) if len(str(path)) < 100 else f"{str(path)[:100]}..."
        return f"{name}: {error.strerror}; check the name"
    if error.errno in FORBIDDEN:
        return f"{path}: {error.strerror}; give this user the right to it, or name another place"
    return f"cannot write {path}: {disk_reason(error, path.parent)}"


def _temporary(path: Path, suffix: str = "") -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{_place()}-{next(_SERIAL)}.tmp{suffix}")


@cache
def _place() -> str:
    """Eight digits for where process numbers mean the same: a machine, or a container on it."""
    try:
        numbers = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:  # no Linux
        numbers = ""
    return hashlib.sha256(f"{platform.node()} {numbers}".encode()).hexdigest()[:8]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in "ZX"  # killed, and its parent has not looked yet


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _rename_or_bring_back(temporary: Path, path: Path, former: Path) -> None:
    try:
        temporary.replace(path)
    except OSError:
        if former.exists():
            former.replace(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON; NaN and infinities are refused, since other readers reject them."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, finite: bool = True) -> Any:
    """Read JSON; `finite`: see `documents.parse_json`.

    Raises:
        YoloslimError: the file is missing or no JSON; see `documents.parse_json`.
    """
    if not path.exists():
        raise YoloslimError(f"{path} is missing; run the stage that makes it (`dvc repro`)")
    return read_json_file(path, YoloslimError, finite)


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def share_blocks(source: Path, target: Path) -> bool:
    """Make a new file of the blocks of another, which stays as it is whatever happens to the new one (a reflink).

    Returns:
        False, with no file written, where the file system cannot (Btrfs, XFS and bcachefs can), or it is another one.
    """
    if fcntl is None:
        return False
    try:
        with source.open("rb") as old, target.open("xb") as new:
            fcntl.ioctl(new, _FICLONE, old.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True


def seal(path: Path) -> None:
    """Append a checksum of all that a file holds, for `is_whole`; NumPy and PyTorch read the file as before."""
    with path.open("rb+") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.write(_SEAL + _content_sum(stream.fileno(), size))


def is_whole(path: Path) -> bool:
    """Whether a file is, byte for byte, what was sealed; looked at once in a process as long as it does not change.

    This finds damage (a flipped bit, a missing end), not malice: whoever may write the file may seal it.
    """
    with path.open("rb") as stream:
        state = os.fstat(stream.fileno())
        key = (str(path.absolute()), state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
        if key in _seen_whole:
            return True
        size = state.st_size - len(_SEAL) - 32
        if size < 0 or os.pread(stream.fileno(), len(_SEAL) + 32, size) != _SEAL + _content_sum(stream.fileno(), size):
            return False
    _seen_whole.add(key)
    return True


def _content_sum(fd: int, size: int) -> bytes:
    """SHA-256 over the CRC-32 of every block: for a data set, SHA-256 over all would take several times as long."""

    def crc(start: int) -> int:
        return zlib.crc32(os.pread(fd, min(_SEAL_BLOCK, size - start), start))

    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(crc, range(0, size, _SEAL_BLOCK)))
    return hashlib.sha256(struct.pack(f">Q{len(sums)}I", size, *sums)).digest()
