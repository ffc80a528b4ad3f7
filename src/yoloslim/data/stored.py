"""The file of decoded images: opened without reading it, each image checked when its pixels are first wanted."""

import hashlib
import logging
import os
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from yoloslim.disk import reserve
from yoloslim.errors import DataError
from yoloslim.files import write_all

logger = logging.getLogger(__name__)

Shape = tuple[int, int, int, int]
Decode = Callable[[int], NDArray[np.uint8]]
"""Makes the image of a number from its source."""
Check = Callable[[NDArray[np.intp]], None]
"""Takes the numbers of images whose pixels are to be read next; raises DataError where they are not sound."""
_SEAL = b"\nyoloslim-images-1\n"


class Stored:
    """Images of a file that `reserved_store` wrote; NumPy reads it too.

    A CRC-32 of each image follows the images, a SHA-256 of these ends the file. So opening reads a few bytes an image,
    and damage is found in the image that is asked for: it is decoded again, into its place.

    Attributes:
        pixels: uint8 (N, S, S, 3), a read-only memory map. Call `check` before reading what it holds.
    """

    def __init__(self, path: Path, shape: Shape, sums: NDArray[np.uint32], decode: Decode) -> None:
        """Take a file whose end is known to be whole; see `open`."""
        self._path, self._sums, self._decode = path, sums, decode
        self._sound, self._mended, self._lock = np.zeros(len(sums), bool), 0, Lock()
        self._start, self._side = len(_header(shape)), _side(shape)
        self._fd = os.open(path, os.O_RDONLY)  # whoever empties the cache ends no training
        weakref.finalize(self, os.close, self._fd)
        self.pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r")

    @classmethod
    def open(cls, path: Path, shape: Shape, decode: Decode) -> "Stored | None":
        """Open a file; None where it is not of this shape, or its end is not what was written."""
        header, size = _header(shape), shape[0] * _side(shape)
        with path.open("rb") as file:
            start = file.read(len(header))
            file.seek(len(header) + size)
            end = file.read()
        found = end[len(_SEAL) : len(_SEAL) + 4 * shape[0]]
        if start != header or end != _end(header, found):
            return None
        return cls(path, shape, np.frombuffer(found, "<u4"), decode)

    def check(self, numbers: NDArray[np.intp]) -> None:
        """See that images are what was written, each once in a process; safe to call from several threads.

        Args:
            numbers: which images, (n,).

        Raises:
            DataError: one is damaged, and cannot be decoded again.
        """
        for number in numbers[~self._sound[numbers]].tolist():
            if not self._is_whole(number):
                self._mend(number)
            self._sound[number] = True

    def _is_whole(self, number: int) -> bool:
        data = os.pread(self._fd, self._side, self._start + number * self._side)  # not mapped: one request of the disk
        return zlib.crc32(data) == int(self._sums[number])

    def _mend(self, number: int) -> None:
        data = self._decode(number).tobytes()
        if zlib.crc32(data) == self._sums[number]:
            with self._path.open("rb+") as file:
                write_all(file.fileno(), data, self._start + number * self._side)
        if not self._is_whole(number):
            raise DataError(
                f"image {number} of {self._path} is damaged, and what it was made from no longer gives what was "
                "stored: delete that file, and run the same command again"
            )
        with self._lock:
            self._mended += 1
            if self._mended & (self._mended - 1) == 0:  # a disk that lost all of them fills no terminal
                text = "image %d of %s was damaged on the disk and has been decoded again, as %d of its %d have by now"
                logger.warning(text, number, self._path, self._mended, len(self._sums))


def unchecked(numbers: NDArray[np.intp]) -> None:
    """The check of images that lie in no file."""


@contextmanager
def reserved_store(path: Path, shape: Shape) -> Iterator[Callable[[int, NDArray[np.uint8]], None]]:
    """Write a store: yields what takes a number and its image, in any order, from any thread.

    It is written, not mapped, since a full disk ends a process that writes into a map.
    """
    header, size = _header(shape), _side(shape)
    room = len(header) + shape[0] * size + len(_end(header, bytes(4 * shape[0])))
    reserve(path, room, "make room, or name a folder on a larger disk: train.cache_dir")
    sums = np.zeros(shape[0], "<u4")
    with path.open("rb+") as file:

        def write(number: int, image: NDArray[np.uint8]) -> None:
            data = image.tobytes()
            sums[number] = zlib.crc32(data)
            write_all(file.fileno(), data, len(header) + number * size)

        yield write
        write_all(file.fileno(), header, 0)
        write_all(file.fileno(), _end(header, sums.tobytes()), len(header) + shape[0] * size)


def _side(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[1:], dtype=np.int64))


def _header(shape: Shape) -> bytes:
    with BytesIO() as stream:
        write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return stream.getvalue()


def _end(header: bytes, sums: bytes) -> bytes:
    return _SEAL + sums + hashlib.sha256(header + sums).digest()
