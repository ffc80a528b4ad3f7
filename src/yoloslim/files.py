"""Files that are either whole or absent: write to a temporary name beside the target, then rename."""

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from yoloslim.disk import disk_reason
from yoloslim.documents import read_json_file
from yoloslim.errors import YoloslimError

_FOREIGN_S = 86_400.0
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


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write bytes at a place of an open file, all of them."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def with_name_of_its_own(path: Path) -> Path:
    """The path, where a file or folder of that name can be made.

    Raises:
        YoloslimError: it is `.`, `..` or `/`.
    """
    if path.name in ("", ".."):
        raise YoloslimError(f"{path} is a folder that is there already; name what is to be written in it")
    return path


def _temporary(path: Path, suffix: str = "") -> Path:
    return with_name_of_its_own(path).with_name(f".{path.name}.{os.getpid()}-{_place()}-{next(_SERIAL)}.tmp{suffix}")


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


def spare_inputs(out: Path, *inputs: Path) -> None:
    """Refuse to write what is being read.

    Raises:
        YoloslimError: `out` is one of the inputs, however it is spelled.
    """
    if out.resolve() in [each.resolve() for each in inputs]:
        raise YoloslimError(f"{out} is what this reads, and would be replaced; name another with --out")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write `value` as JSON, readable unless `indent` is None, which is several times as fast and for many numbers.

    NaN and infinities are refused, since other readers reject them.
    """
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def read_json(path: Path, finite: bool = True) -> Any:
    """Read JSON; `finite`: see `documents.parse_json`.

    Raises:
        YoloslimError: the file is missing or no JSON; see `documents.parse_json`.
    """
    if not path.exists():
        raise YoloslimError(f"{path} is missing; run the stage that makes it (`dvc repro`)")
    return read_json_file(path, YoloslimError, finite)


def user_cache(kind: str) -> Path:
    """Where this project keeps what belongs to the machine and to no checkout: `$XDG_CACHE_HOME/yoloslim/<kind>`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yoloslim" / kind


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
