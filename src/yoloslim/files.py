"""Files that are either whole or absent: write to a temporary name beside the target, then rename."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from yoloslim.documents import read_json_file
from yoloslim.errors import YoloslimError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file name beside `path`; on success it replaces `path`, on failure it is removed.

    Raises:
        YoloslimError: the disk refused (full, read-only); whatever stood at `path` before stands there still.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise YoloslimError(f"cannot write {path}: {error.strerror or error}; nothing was replaced") from error
    finally:
        with suppress(OSError):  # it may not be there, or the folder may be no folder: both have been said
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it replaces the folder `path` as a whole.

    Raises:
        YoloslimError: the disk refused; whatever stood at `path` before stands there still.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    former = temporary.with_suffix(".old")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.is_dir():
            path.replace(former)  # two renames, so that no folder is ever half removed
        _rename_or_bring_back(temporary, path, former)
    except OSError as error:
        raise YoloslimError(f"cannot write {path}: {error.strerror or error}; nothing was replaced") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


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


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        YoloslimError: the file is missing or no JSON; see `documents.parse_json`.
    """
    if not path.exists():
        raise YoloslimError(f"{path} is missing; run the stage that makes it (`dvc repro`)")
    return read_json_file(path, YoloslimError)


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
