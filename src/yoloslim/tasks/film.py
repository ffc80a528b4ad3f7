"""A video with boxes, written frame by frame: it can be played whatever ends it."""

import logging
import shutil
from contextlib import ExitStack
from types import TracebackType

import cv2

from yoloslim.errors import YoloslimError
from yoloslim.files import atomic_path
from yoloslim.quiet import silent
from yoloslim.runner.output import Output
from yoloslim.tasks.feeds import Image
from yoloslim.tasks.splice import Rows

logger = logging.getLogger(__name__)

ROOM_MB = 4.0
"""Millions of bytes that must be free where videos are written: with less they end while they can be finished."""


class NoRoomError(YoloslimError):
    """The disk that videos are written to is all but full."""


class Film:
    """A video with boxes that is being written; it has its name when it is whole."""

    def __init__(self, output: Output, name: str, fps: float) -> None:
        """Of that name in the output's folder."""
        self.frames, self._resized = 0, False
        self._output, self._name, self._fps = output, name, fps
        self._path = output.folder / f"{name}.mp4"
        self._stack = ExitStack()
        self._temporary = self._path
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> "Film":
        """Nothing is written before the first frame, whose size is the video's."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish it, with the frames that it has.

        Raises:
            YoloslimError: it cannot be played, since the disk refused; then nothing is left.
        """
        with self._stack:
            if self._writer:
                self._writer.release()
                self._check()

    def write(self, image: Image, rows: Rows) -> None:
        """The next frame (H, W, 3) with its boxes, and what else is asked for.

        Raises:
            NoRoomError: the disk is all but full.
            YoloslimError: the disk refused.
        """
        size = (image.shape[1], image.shape[0])
        if (free := self._free_mb()) < ROOM_MB:
            raise NoRoomError(f"{free:.1f} MB are free for {self._path}: make room, or name another --out")
        if self._writer is None:
            self._begin(size)
        assert self._writer is not None
        drawn = self._output.painter.draw(image, rows)
        if size != self._size:
            if not self._resized:
                logger.warning(
                    "%s: frames change from %s to %s; the video keeps the first size", self._name, self._size, size
                )
            self._resized = True
            drawn = cv2.resize(drawn, self._size)
        self._writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        self.frames += 1
        self._output.parts(f"{self._name}-{self.frames:06}", image, rows)

    def _begin(self, size: tuple[int, int]) -> None:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_path(self._output.place(self._path.name)))
            self._temporary.touch()  # OpenCV would not say why it cannot
            writer = cv2.VideoWriter(str(self._temporary), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, size)
            if not writer.isOpened():
                raise YoloslimError(
                    f"{self._path} cannot be begun: OpenCV writes no video of {size[0]} x {size[1]} px at "
                    f"{self._fps:g} frames a second"
                )
            self._stack = stack.pop_all()
        self._writer, self._size = writer, size

    def _check(self) -> None:
        """OpenCV does not say when the disk refuses: read how many frames the file has."""
        with silent():
            read = cv2.VideoCapture(str(self._temporary))
            count = int(read.get(cv2.CAP_PROP_FRAME_COUNT)) if read.isOpened() else 0
            read.release()
        if not count or count < self.frames:
            raise YoloslimError(
                f"{self._path} could not be written: {count} of its {self.frames} frames can be read again; "
                f"{self._free_mb():.1f} MB are free there: make room, or name another --out"
            )

    def _free_mb(self) -> float:
        """Room on the disk of the output, which may have no folder yet."""
        there = next(each for each in (self._path.parent, *self._path.absolute().parents) if each.is_dir())
        return shutil.disk_usage(there).free / 1e6
