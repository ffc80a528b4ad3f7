"""Annotations and paths in little memory: a set of a hundred thousand images is looked at as a whole."""

import marshal
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from yoloslim.data.voc import Annotation

_BYTES = 4 * 4 + 8 + 1
"""Of a box: corners, label, flags."""
_WAITING = 2**18
"""Bytes of rows that are written at once."""


class PackedAnnotation:
    """An `Annotation` in a fifth of its memory, to be unpacked when it is needed."""

    __slots__ = ("_data", "_size")

    def __init__(self, annotation: Annotation) -> None:
        """Pack one."""
        flags = annotation.difficult.view(np.uint8) + 2 * annotation.truncated.view(np.uint8)
        self._data = annotation.boxes.tobytes() + annotation.labels.tobytes() + flags.tobytes()
        self._size = int(annotation.width), int(annotation.height)

    def __len__(self) -> int:
        return len(self._data) // _BYTES

    def unpacked(self) -> Annotation:
        """The same; its arrays are read-only."""
        count = len(self)
        boxes = np.frombuffer(self._data, np.float32, 4 * count).reshape(count, 4)
        labels = np.frombuffer(self._data, np.int64, count, 16 * count)
        flags = np.frombuffer(self._data, np.uint8, count, 24 * count)
        return Annotation(*self._size, boxes, labels, (flags & 1).astype(bool), (flags & 2).astype(bool))

    def plain(self) -> tuple[Any, ...]:
        """As `Rows` keeps it."""
        return (self._data, *self._size)

    @classmethod
    def of(cls, plain: tuple[Any, ...]) -> "PackedAnnotation":
        """From what `plain` gave."""
        packed = cls.__new__(cls)
        packed._data, *size = plain
        packed._size = size[0], size[1]
        return packed


class Rows:
    """Rows of plain values (numbers, texts, bytes, tuples of those) in a temporary file; 8 bytes each are held.

    Threads may read at the same time, once all is appended. The file has no name, and is gone with the process.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._file = tempfile.TemporaryFile(prefix="yoloslim-", buffering=_WAITING)  # noqa: SIM115 - as long as the rows
        self._starts = array("q", [0])
        self._unwritten = False

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, row: Any) -> None:
        """Keep one more."""
        data = marshal.dumps(row)
        self._file.write(data)
        self._unwritten = True
        self._starts.append(self._starts[-1] + len(data))

    def __getitem__(self, number: int) -> Any:
        if self._unwritten:
            self._file.flush()
            self._unwritten = False
        start = self._starts[number]
        return marshal.loads(os.pread(self._file.fileno(), self._starts[number + 1] - start, start))


class Paths:
    """Paths of which many share a folder, as text in one buffer: about 20 bytes each."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        """Begin with those given."""
        self._folders: dict[str, int] = {}
        self._in = array("l")
        self._ends = array("q", [0])
        self._names = bytearray()
        self._known: list[str] = []
        for path in paths:
            self.append(path)

    def append(self, path: Path) -> None:
        """Keep one more."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = len(self._known)
            self._known.append(folder)
        self._in.append(self._folders[folder])
        self._names += os.fsencode(name)
        self._ends.append(len(self._names))

    def __len__(self) -> int:
        return len(self._in)

    def __getitem__(self, number: int) -> Path:
        name = os.fsdecode(bytes(self._names[self._ends[number] : self._ends[number + 1]]))
        return Path(self._known[self._in[number]], name)

    def __iter__(self) -> Iterator[Path]:
        return (self[number] for number in range(len(self)))

    def folders(self) -> list[Path]:
        """Every folder that one of them lies in, once, in the order of the first."""
        return [Path(folder) for folder in self._known]
