"""What the source of the data looked like when stage `data` read it: DVC does not look outside the project."""

import hashlib
import json
from pathlib import Path

from yoloslim.config.data import DataParams
from yoloslim.errors import DataError, YoloslimError
from yoloslim.files import read_json, write_json

SEEN = Path(".cache") / "source.json"
"""`path` of the data, and its `state` when it was read last in this checkout."""
VERSION = 2
"""Of what `state` is made from; one of another version tells nothing."""
_DESCRIPTIONS = (".yaml", ".yml", ".json", ".xml", ".data")
"""Suffixes of files that describe images beside or below them."""


def look_at(path: Path) -> str:
    """Names, sizes and times of the files of a data set, as a hash.

    Args:
        path: folder, archive, or a file that describes images, whose folder counts then.

    Raises:
        DataError: it cannot be looked at.
    """
    from yoloslim.data.folders import walk  # with OpenCV, which a drawn data set need not wait for

    folder = path.parent if path.suffix.lower() in _DESCRIPTIONS and path.is_file() else path
    digest = hashlib.sha256()
    try:
        for file in walk(folder) if folder.is_dir() else [path]:
            state = file.stat()
            digest.update(json.dumps([str(file), state.st_size, state.st_mtime_ns]).encode())
    except OSError as error:
        raise DataError(f"cannot look at data.path {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def is_outside(params: DataParams) -> bool:
    """Whether the data comes from files that DVC does not see."""
    return params.source not in ("scenes", "voc2007")


def remember(params: DataParams) -> None:
    """Keep what the source looks like, now that it was read."""
    if is_outside(params):
        write_json(SEEN, {"version": VERSION, "path": params.path, "state": look_at(Path(params.path))})


def is_as_seen(params: DataParams) -> bool | None:
    """Whether the source looks as it did when it was read last; None where that is not known, or it is not there."""
    try:
        kept = read_json(SEEN) if SEEN.is_file() else {}
        known = kept.get("version") == VERSION and kept.get("path") == params.path
        if not known or not is_outside(params) or not Path(params.path).exists():
            return None
        return bool(kept["state"] == look_at(Path(params.path)))
    except (YoloslimError, LookupError, AttributeError):
        return None
