"""Annotations and paths in little memory: those of a hundred thousand images are held at once."""

import os
import sys
from pathlib import Path

import numpy as np

from yoloslim.data.voc import Annotation

_BYTES = 4 * 4 + 8 + 1
"""Of a box: corners, label, flags."""


class PackedAnnotation:
    """An `Annotation` in a fifth of its memory, to be unpacked when it is needed."""

    __slots__ = ("_data", "_size")

    def __init__(self, annotation: Annotation) -> None:
        """Pack one."""
        flags = annotation.difficult.view(np.uint8) + 2 * annotation.truncated.view(np.uint8)
        self._data = annotation.boxes.tobytes() + annotation.labels.tobytes() + flags.tobytes()
        self._size = annotation.width, annotation.height

    def __len__(self) -> int:
        return len(self._data) // _BYTES

    def unpacked(self) -> Annotation:
        """The same; its arrays are read-only."""
        count = len(self)
        boxes = np.frombuffer(self._data, np.float32, 4 * count).reshape(count, 4)
        labels = np.frombuffer(self._data, np.int64, count, 16 * count)
        flags = np.frombuffer(self._data, np.uint8, count, 24 * count)
        return Annotation(*self._size, boxes, labels, (flags & 1).astype(bool), (flags & 2).astype(bool))


def packed_path(path: Path) -> tuple[str, str]:
    """Folder and name; many paths share the folder."""
    folder, name = os.path.split(path)
    return sys.intern(folder), name
