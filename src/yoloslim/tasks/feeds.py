"""Streams read side by side, each in a thread of its own: what one of them does stops no other."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import DataError
from yoloslim.tasks.sources import Stream, stem_of

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
Prepare = Callable[[Image], tuple[Image, Any]]

AHEAD = 8
"""Frames that a stream is read ahead."""

PATIENCE_S, FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 1.0, 8.0
"""How long a camera may be silent before it is given up, and the first and longest pause between two connections."""

PARTING_S = 3.0
"""How long the thread of a stream is waited for at the end."""


class Frame(NamedTuple):
    """A frame RGB (H, W, 3), what the network is to see of it, and where it lies there."""

    image: Image
    canvas: Image
    place: Any


class Feed:
    """A stream that is decoded and resized in a thread, and connected again when a camera drops it.

    A file waits until its frames are taken. A camera does not wait: of frames that nobody takes in time the oldest go.

    Attributes:
        name: of the source, without a password.
        fps: frames a second, as the source states it.
        live: whether it is a camera.
        passed_over: frames of a camera that came while earlier ones were computed.
        failure: why it ended, empty if it just ended.
        changed: told when a frame has come or the stream has ended.
    """

    def __init__(self, source: str, changed: threading.Condition, patience_s: float = PATIENCE_S):
        """Open it; `start` begins to read.

        Args:
            source: of the stream.
            changed: told when a frame has come or the stream has ended; one for all feeds.
            patience_s: how long a camera may be silent.

        Raises:
            DataError: it cannot be opened.
        """
        self.name, self.passed_over, self.failure = stem_of(source), 0, ""
        self._source, self._patience_s = source, patience_s
        self._stream: Stream | None = Stream(source)
        self.fps, self.live = self._stream.fps, self._stream.live
        self.changed, self._frames = changed, deque[Frame]()
        self._ended, self._stop = False, threading.Event()
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def start(self, prepare: Prepare) -> None:
        """Begin to read.

        Args:
            prepare: letterboxes an image.
        """
        self._thread = threading.Thread(target=self._read, args=(prepare,), name=f"feed {self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no further; frames that wait are forgotten."""
        self._stop.set()
        with self.changed:
            self._frames.clear()
            self.changed.notify_all()

    def wait(self) -> None:
        """Wait for the thread to end, once it was told to: one that ends with the process takes it along (SIGABRT).

        A camera that is silent may keep it longer than `PARTING_S`, and is not waited for.
        """
        if self._thread:
            self._thread.join(PARTING_S)

    @property
    def waiting(self) -> bool:
        """Whether a frame can be taken; ask while `changed` is held."""
        return bool(self._frames)

    @property
    def over(self) -> bool:
        """Whether no frame is left and none will come; ask while `changed` is held."""
        return self._ended and not self._frames

    def take(self) -> Frame:
        """The oldest frame that waits; call while `changed` is held."""
        frame = self._frames.popleft()
        self.changed.notify_all()
        return frame

    def check(self) -> None:
        """Raise what the thread ran into, if that was no matter of the source."""
        if self._error is not None:
            raise self._error

    def _read(self, prepare: Prepare) -> None:
        try:
            for image in self._images():
                self._put(Frame(image, *prepare(image)))
                if self._stop.is_set():
                    return
        except DataError as error:
            self.failure = str(error)
        except Exception as error:  # told to the thread that takes frames
            self._error = error
        finally:
            with self.changed:
                self._ended = True
                self.changed.notify_all()

    def _put(self, frame: Frame) -> None:
        with self.changed:
            if self.live and len(self._frames) >= AHEAD:
                self._frames.popleft()
                self.passed_over += 1
            self.changed.wait_for(lambda: len(self._frames) < AHEAD or self._stop.is_set())
            if not self._stop.is_set():
                self._frames.append(frame)
            self.changed.notify_all()

    def _images(self) -> Iterator[Image]:
        """Frames, those after a drop and a new connection included."""
        stream, wait_s, heard = self._stream, FIRST_WAIT_S, time.monotonic()
        while True:
            try:
                for image in stream.frames() if stream else ():
                    yield image
                    wait_s, heard = FIRST_WAIT_S, time.monotonic()
            except DataError:
                if not self.live:
                    raise
            if not self.live or self._stop.is_set():
                return
            if stream:
                logger.warning("camera %s broke off; connecting again", self.name)
            if (silent_s := time.monotonic() - heard) >= self._patience_s:
                raise DataError(f"camera {self.name} has sent nothing for {silent_s:.0f} s and is given up")
            if self._stop.wait(min(wait_s, self._patience_s)):
                return
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            stream = self._again()

    def _again(self) -> Stream | None:
        try:
            stream = Stream(self._source)
        except DataError:
            return None
        logger.info("camera %s is back", self.name)
        return stream


def rounds(feeds: Sequence[Feed], limit: int | None = None) -> Iterator[list[tuple[int, Frame]]]:
    """The next frame of every stream, with its number, until all have ended or have given `limit` frames.

    A round waits for every file, and takes of the cameras those that have a frame; at least one has.
    """
    left: dict[int, int | None] = dict.fromkeys(range(len(feeds)), limit)
    changed = feeds[0].changed

    def ready() -> bool:
        mine = [feeds[number] for number in left]
        pace = all(feed.waiting or feed.over for feed in mine if not feed.live)
        return pace and (any(feed.waiting for feed in mine) or all(feed.over for feed in mine))

    while left:
        taken = []
        with changed:
            changed.wait_for(ready)
            for number in list(left):
                feed, of_it = feeds[number], left[number]
                if feed.waiting:
                    taken.append((number, feed.take()))
                    left[number] = None if of_it is None else of_it - 1
                if left[number] == 0 or feed.over:
                    del left[number]
        for feed in feeds:
            feed.check()
        for number, _ in taken:
            if number not in left:
                feeds[number].stop()
        if taken:
            yield taken
