"""What disks say when they refuse, in sentences; and room that is taken before it is needed."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from yoloslim.errors import YoloslimError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a system says when there is no room."""
FORBIDDEN = (errno.EACCES, errno.EPERM)
DISK = (*FULL, *FORBIDDEN, errno.EROFS, errno.EIO, errno.EFBIG)
"""What a system says when a disk, and no program, is the cause."""
NO_PLACE = (errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
"""What it says of a name that somebody gave: no file has it, or none can have it."""
SAID = (*DISK, *NO_PLACE)
"""Errors that a command ends with in a sentence, wherever they come from."""
_BLOCK = 1 << 22


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
