"""What lies in a folder, without the files that operating systems leave beside those of people."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from yoloslim.data.names import composed
from yoloslim.errors import DataError
from yoloslim.runner.pictures import SUFFIXES

MAX_DEPTH = 24
"""Folders in folders; deeper ones are no data set."""

_LOOKED_AT = 10_000
"""Files that are counted to tell what a folder holds."""
_SIDE_NAMES = {"__macosx", ".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "icon\r", "$recycle.bin"}
_FOREIGN = (
    *(".heic", ".heif", ".avif", ".gif", ".cr2", ".nef", ".dng", ".raw", ".arw", ".svg", ".jp2", ".psd"),
    *(".ppm", ".pgm", ".pnm", ".pfm", ".exr", ".jxl", ".mpo", ".jpe"),
)
"""Pictures of kinds that are not read."""
_TOOLS = {".csv", ".json", ".jsonl", ".ndjson"}
"""Files that other tools write their boxes to."""
_PACKED = {".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"}


def is_side_file(name: str) -> bool:
    """Whether a name is one that macOS, Windows or a NAS makes beside people's files."""
    return name.startswith("._") or name.lower() in _SIDE_NAMES


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, in order of their paths, without side files and hidden folders.

    A link to nowhere is a file where it is called like an image, so that it is counted as missing rather than unseen.

    Raises:
        DataError: folders too deep in one another, or one that cannot be read.
    """
    stack: list[tuple[Path, int]] = [(folder, 0)]
    while stack:
        here, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise DataError(f"{folder} has folders more than {MAX_DEPTH} deep ('{here.name}'); that is no data set")
        files, below = [], []
        try:
            with os.scandir(here) as entries:
                for item in entries:
                    if is_side_file(item.name):
                        continue
                    if _leads_nowhere(item):
                        files += [item.name] if is_image(item.name) else []
                    elif item.is_dir():
                        below.append(item.name)
                        if item.is_symlink() and here.resolve().is_relative_to((here / item.name).resolve()):
                            raise DataError(f"{here / item.name} is a link to a folder that it lies in; remove it")
                    elif item.is_file():
                        files.append(item.name)
        except OSError as error:
            raise DataError(f"folder {str(here)[:200]} cannot be read: {error.strerror or error}") from error
        yield from (here / name for name in sorted(files))
        stack += ((here / name, depth + 1) for name in sorted(below, reverse=True) if not name.startswith("."))


def _leads_nowhere(item: os.DirEntry[str]) -> bool:
    """Whether it is a link to what is not there, or to itself."""
    return item.is_symlink() and not os.path.exists(item.path)  # noqa: PTH110 - a DirEntry has no such question


def key_of(path: Path, root: Path) -> str:
    """A file's path below `root` without suffix, composed, with `/` between folders."""
    return composed(path.relative_to(root).with_suffix("").as_posix())


def is_image(path: Path | str) -> bool:
    """Whether a file's suffix is of a kind that is read."""
    return os.path.splitext(path)[1].lower() in SUFFIXES  # noqa: PTH122 - twice as fast as a Path


def is_unread(path: Path) -> bool:
    """Whether a file's suffix is of a kind of pictures that is not read."""
    return path.suffix.lower() in _FOREIGN


def contents(path: Path) -> str:
    """What lies below a folder, as a sentence: how many files of which kinds."""
    if not path.is_dir():
        return f"It is a file of kind {path.suffix or 'none'}"
    kinds = Counter(p.suffix.lower() or p.name for p in islice(walk(path), _LOOKED_AT))
    if not kinds:
        return "It holds no files"
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) + (" ..." if len(kinds) > 5 else "")
    listed += " and more" if kinds.total() == _LOOKED_AT else ""
    missing = "; nothing says where boxes are" if all(kind in (*SUFFIXES, *_FOREIGN) for kind in kinds) else ""
    missing += "; unpack what is packed inside" if kinds.keys() & _PACKED else ""
    missing += "; tables and JSON of other tools are not read: export as COCO or VOC" if kinds.keys() & _TOOLS else ""
    return f"It holds {listed}{missing}"


def unread_pictures(files: Iterable[Path]) -> dict[str, int]:
    """How many pictures are of kinds that are not read, by suffix."""
    counts: dict[str, int] = {}
    for path in files:
        if is_unread(path):
            suffix = path.suffix.lower()
            counts[suffix] = counts.get(suffix, 0) + 1
    return dict(sorted(counts.items()))
