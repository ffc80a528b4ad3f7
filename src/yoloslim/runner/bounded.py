"""Files that others hand in, read whole: no pipe or device, which may never end, and nothing too large."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

MAX_TEXT_BYTES, MAX_XML_BYTES = 2**30, 2**28
"""Of a list or label file, and of an annotation."""


def read_bounded(path: Path, most: float) -> bytes:
    """All bytes of a regular file of at most so many.

    Raises:
        OSError: missing, no regular file, larger, a name that no file can have, or the disk refuses.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a folder, a pipe or a device and no file", str(path))
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, and {most:.0f} are allowed", str(path))
        return path.read_bytes()
    except ValueError as error:  # a zero byte
        raise OSError(errno.EINVAL, f"no file can be called so ({error})", str(path)) from error
