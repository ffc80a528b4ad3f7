"""What was learnt about files by reading all of them, kept as long as they do not change, so that it is read once."""

import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from yoloslim.errors import YoloslimError
from yoloslim.files import read_json, sha256_file, write_text

logger = logging.getLogger(__name__)

NAME = "digests.json"
VERSION = 1
_THREADS, _AT_ONCE = 8, 128

State = list[int]
"""Size, time of the last change in ns, number of the file: by these DVC and Git tell, too, whether a file changed."""


class Digests:
    """SHA-256 of files, remembered in `digests.json` of a folder.

    A file that was changed has another time; what a disk damages without writing is not noticed once a file was read.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is remembered; a file that is damaged is as good as none."""
        self._path = folder / NAME
        self._known: dict[str, tuple[State, str]] = {}
        try:
            kept = read_json(self._path) if self._path.is_file() else {}
            if isinstance(kept, dict) and kept.get("version") == VERSION:
                self._known = {name: (state, digest) for name, (state, digest) in kept["files"].items()}
        except (YoloslimError, ValueError, TypeError, AttributeError, LookupError, OSError):
            logger.warning("%s is damaged, so that all files are read again", self._path)

    def of(self, paths: Sequence[Path]) -> list[str]:
        """SHA-256 of each file; those that did not change since are not read.

        Raises:
            OSError: one cannot be read.
        """
        parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(chain.from_iterable(pool.map(lambda part: [self._digest(path) for path in part], parts)))
        self._keep(zip(paths, found, strict=True))
        return [digest for _, digest in found]

    def _digest(self, path: Path) -> tuple[State, str]:
        state = _state(path)
        known = self._known.get(_name(path))
        return known if known and known[0] == state else (state, sha256_file(path))

    def _keep(self, found: Iterable[tuple[Path, tuple[State, str]]]) -> None:
        new = {_name(path): what for path, what in found}
        if any(self._known.get(name) != what for name, what in new.items()):
            self._known |= new
            text = json.dumps({"version": VERSION, "files": self._known}, separators=(",", ":"))
            try:
                write_text(self._path, text)
            except (OSError, YoloslimError) as error:  # the next run reads the files again: no reason to stop this one
                logger.warning("what was read is not remembered: %s", error)


def _name(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  (resolving links of a hundred thousand files takes seconds)


def _state(path: Path) -> State:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ino]
