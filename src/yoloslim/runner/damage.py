"""JPEG and TIFF files that are damaged inside: their decoders say so to standard error, without a name, and give grey
or black pixels.

A file that is cut short is refused. One whose middle is missing or another is decoded: here what libjpeg says, and
OpenCV for libtiff, is caught and put down to the files that it was said of. PNG has checksums, and is refused. BMP,
WebP, and TIFF without compression have none: pixels that were changed there are pixels like others. Pillow, which
boards without OpenCV decode with, refuses damaged TIFF and says nothing of JPEG.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from . import headers
from .bounded import read_bounded

cv2: Any
try:
    import cv2
except ImportError:  # the board's Python may have Pillow only
    cv2 = None

_SAID = re.compile(
    r"^(?:\[.*TIFF_Warning JPEGLib: |OpenCV TIFF: JPEGLib: Warning, )?"
    r"((?:Corrupt JPEG data|Premature end of JPEG file).*)\n?"
    r"|^\[.*TIFF_Error (?:JPEGLib: )?(.*)\n?"
    r"|^OpenCV TIFF: (\w*Decode\w*: .*)\n?",
    re.MULTILINE,
)
"""What libjpeg says of damage, and libtiff; what they say of odd headers does no harm. 4.6 begins with `OpenCV`."""

_NAMELESS = re.compile(
    rf"{_SAID.pattern}|^(?:OpenCV TIFF: |Invalid SOS parameters|libpng (?:error|warning):).*\n?"
    r"|^imdecode_\(''\): can't read data: .*\n\n?"
    r"|^\[ ?(?:WARN|ERROR):\d+@.*\n(?:>.*\n|\n)*",
    re.MULTILINE,
)
"""Lines that tell nobody which file is meant: what is damage is told with its name, by this module or as an error."""


class _Listener:
    """Standard error, kept in a file, and the images that were decoded while something was written there."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.suspects: dict[Path, None] = {}

    def size(self) -> int:
        """Bytes so far."""
        return os.fstat(self.file.fileno()).st_size

    def damage(self, path: Path) -> str:
        """What is said of a file that is decoded alone; empty if nothing, or if it cannot be decoded at all."""
        if cv2 is None:
            return ""
        before = self.size()
        data = np.frombuffer(read_bounded(path, headers.most_bytes()), np.uint8)
        if cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8) is None:
            return ""
        said = os.pread(self.file.fileno(), self.size() - before, before).decode(errors="replace")
        found = _SAID.search(said)
        return next(filter(None, found.groups())).strip().replace("Corrupt JPEG data: ", "", 1) if found else ""


_now: list[_Listener] = []
"""The one that listens, if any does: a process has one standard error."""


@contextmanager
def noting(path: Path) -> Iterator[None]:
    """Decode the image file `path` inside; in several threads it may be suspected for what another one has."""
    listener = _now[0] if _now else None
    before = listener.size() if listener else 0
    yield
    if listener and listener.size() > before:
        listener.suspects[path] = None


@contextmanager
def listening() -> Iterator[dict[Path, str]]:
    """Catch what decoders say inside; whatever else goes to standard error in C gets there at the end.

    Yields:
        File -> what they say of it, of all that were decoded inside by `images.decode_image`; filled at the end.
    """
    found: dict[Path, str] = {}
    if _now or cv2 is None:  # somebody listens already, or nothing would be said
        yield found
        return
    with ExitStack() as stack:
        kept = os.dup(2)
        stack.callback(os.close, kept)
        listener = _Listener(stack.enter_context(tempfile.TemporaryFile()))
        stack.callback(lambda: os.write(kept, _NAMELESS.sub("", _text(listener)).encode()))
        stack.enter_context(_python_writes_to(kept))
        os.dup2(listener.file.fileno(), 2)
        stack.callback(os.dup2, kept, 2)
        stack.enter_context(_opencv_warns())
        _now.append(listener)
        stack.callback(_now.clear)
        yield found
        said = {path: listener.damage(path) for path in sorted(listener.suspects)}
        found.update({path: words for path, words in said.items() if words})


@contextmanager
def told(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand `tell` a sentence on the damaged files among those that were decoded inside, if any, at the end."""
    with listening() as found:
        yield
    for note in sentence(found):
        tell(note)


def sentence(found: Mapping[Path, str]) -> list[str]:
    """What to say of damaged files, at most one sentence."""
    if not found:
        return []
    shown = ", ".join(f"{path.name} ({said})" for path, said in list(found.items())[:10])
    more = " ..." if len(found) > 10 else ""
    several = len(found) > 1
    what = f"{len(found)} image files are" if several else "1 image file is"
    they, them = ("they", "them") if several else ("it", "it")
    return [
        f"{what} damaged inside and used as {they} can be decoded, grey or garbled from there on: {shown}{more}; "
        f"copy or download {them} again, or remove {them}"
    ]


def _text(listener: _Listener) -> str:
    return os.pread(listener.file.fileno(), listener.size(), 0).decode(errors="replace")


@contextmanager
def _opencv_warns() -> Iterator[None]:
    """Let OpenCV log warnings inside, which this package turns off; before 4.7 those of TIFF are debugging."""
    log = getattr(cv2.utils, "logging", None)
    before = log.setLogLevel(3) if log else cv2.setLogLevel(5)
    try:
        yield
    finally:
        (log or cv2).setLogLevel(before)


@contextmanager
def _python_writes_to(descriptor: int) -> Iterator[None]:
    """Let what Python writes to standard error, warnings and progress, go to another descriptor inside."""
    before = sys.stderr
    try:
        is_standard_error = before.fileno() == 2
    except (AttributeError, OSError, ValueError):  # a test's, a notebook's, or none
        is_standard_error = False
    if not is_standard_error:
        yield
        return
    handlers = [h for h in logging.root.handlers if isinstance(h, logging.StreamHandler) and h.stream is before]
    with open(descriptor, "w", buffering=1, encoding=before.encoding, errors="backslashreplace", closefd=False) as own:
        sys.stderr = own
        for handler in handlers:
            handler.setStream(own)
        try:
            yield
        finally:
            sys.stderr = before
            for handler in handlers:
                handler.setStream(before)
