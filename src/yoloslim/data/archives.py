"""Tar archives from strangers, unpacked without letting them write anywhere else."""

import stat
import tarfile
from pathlib import Path, PurePosixPath

from yoloslim.errors import DataError

MAX_BYTES = 64 * 2**30
"""Unpacked size above which an archive is refused: several times the largest VOC release."""


def extract_tar(archive: Path, folder: Path, max_bytes: int = MAX_BYTES) -> None:
    """Unpack a tar (plain, gz, bz2, xz) into `folder`, after every member has been looked at.

    Only folders and plain files with relative names are accepted: no links, devices, absolute names or `..`.

    Raises:
        DataError: missing, no tar, cut short, too large, or a member that would leave the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            _check(archive, members, max_bytes)
            for member in members:
                member.mode = stat.S_IRWXU if member.isdir() else stat.S_IRUSR | stat.S_IWUSR
                tar.extract(member, folder, filter="data")
    except FileNotFoundError as error:
        raise DataError(f"archive {archive} is missing; give the path of a tar file or folder") from error
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"archive {archive} is damaged or no tar file: {error}") from error


def _check(archive: Path, members: list[tarfile.TarInfo], max_bytes: int) -> None:
    total = 0
    for member in members:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
            raise DataError(f"archive {archive} is refused: member '{member.name}' would leave the folder")
        if not (member.isfile() or member.isdir()):
            raise DataError(f"archive {archive} is refused: member '{member.name}' is a link or a device")
        total += member.size
    if total > max_bytes:
        raise DataError(
            f"archive {archive} is refused: it unpacks to {total / 2**30:.1f} GiB, more than {max_bytes / 2**30:g} GiB"
        )
