"""Where images come from: a file, a folder, a list, a video or a camera."""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.data.folders import is_side_file
from yoloslim.errors import DataError
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.headers import too_many
from yoloslim.runner.pictures import SUFFIXES
from yoloslim.runner.voc import read_image_set

logger = logging.getLogger(__name__)

SCHEMES = re.compile(r"(rtsps?|rtmp|rtp|udp|tcp|https?)://", re.IGNORECASE)
"""How addresses of network cameras begin."""

OTHER_PICTURES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".svg", ".raw", ".dng", ".psd")
"""Suffixes of pictures that are not read: of some, runtimes here and on boards would decode different things."""

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")

SILENCE_S = 5.0
"""How long OpenCV waits for a frame of an address, 30 s by itself; at the third such wait it says that none comes."""


def is_stream(source: str) -> bool:
    """Whether a source is a video file, the number of a camera, or the address of one."""
    return _is_camera(source) or is_address(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def is_address(source: str) -> bool:
    """Whether a source is an address such as `rtsp://camera/stream`."""
    return SCHEMES.match(source) is not None


def stem_of(source: str) -> str:
    """A name for what is made of a stream: a file's, a camera's number, or an address without its password."""
    if _is_camera(source):
        return f"camera{source}"
    if not is_address(source):
        return Path(source).stem
    parts = urlsplit(source)
    return re.sub(r"[^\w.-]+", "-", f"{parts.hostname or 'camera'}{parts.path}").strip("-.") or "camera"


def image_paths(source: str, image_dir: Path | None = None) -> list[Path]:
    """The image files of a source.

    Args:
        source: an image, a folder, or a list (.txt) of names without suffix, as in VOC, or of paths.
        image_dir: where the images of a list are; by default beside the list.

    Raises:
        DataError: nothing there, or no image in it.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not is_side_file(p.name))
        if not found:
            deeper = next((each for each in sorted(path.glob("*/**/*")) if each.suffix.lower() in SUFFIXES), None)
            hint = f"{deeper.parent} does" if deeper else "name the folder that does"
            raise DataError(f"{path} holds no image ({', '.join(SUFFIXES)}); {hint}")
        others = [p.name for p in sorted(path.iterdir()) if p.suffix.lower() in OTHER_PICTURES]
        if others:
            logger.warning("%d pictures of kinds that are not read are left out, such as %s", len(others), others[0])
        return found
    if not path.is_file():
        raise DataError(f"{path} is no image, folder, list (.txt), video or camera number; check the name")
    refuse_other_pictures(path)
    if path.suffix.lower() != ".txt":
        return [path]
    try:
        return read_image_set(path, image_dir)
    except RunnerError as error:
        raise DataError(str(error)) from error


def refuse_other_pictures(path: Path) -> None:
    """Refuse a picture of a kind that is not read.

    Raises:
        DataError: it is one, by its suffix.
    """
    if path.suffix.lower() in OTHER_PICTURES:
        raise DataError(f"{path}: pictures of this kind are not read; save it as PNG, or as .mp4 if it moves")


def split_sources(sources: Sequence[str]) -> tuple[list[str], Path | None]:
    """Sources as given on the command line, and the folder of a list's images, which stands behind the list.

    Raises:
        DataError: several that are not all videos or cameras.
    """
    others = [source for source in sources if not is_stream(source)]
    if not others or len(sources) == 1:
        return list(sources), None
    if len(sources) == 2 and sources[0].lower().endswith(".txt"):
        return [sources[0]], Path(sources[1])
    raise DataError(
        f"{others[0]} is no video or camera, and only these are taken several at once; give one source, "
        "or a list of images (.txt) and the folder they are in"
    )


class Stream:
    """Frames of a video or camera, RGB (H, W, 3).

    Attributes:
        fps: frames a second, as the file or the driver states it; 25 where it does not.
        expected: frames that a file says it has; 0 for a camera or an address.
        live: whether it is a camera; a video behind an address says how many frames it has.
    """

    def __init__(self, source: str) -> None:
        """Open it.

        Raises:
            DataError: it cannot be opened, or its frames have too many pixels.
        """
        self._source = source
        is_camera, address = _is_camera(source), is_address(source)
        if not is_camera and not address and not Path(source).is_file():
            raise DataError(f"video {source} is missing; check the name")
        silence = [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(SILENCE_S * 1000)]
        given, limits = int(source) if is_camera else source, silence if address else []
        self._capture = cv2.VideoCapture(given, cv2.CAP_ANY, limits)
        if not self._capture.isOpened():
            if is_camera:
                raise DataError(f"camera {source} cannot be opened; is it connected, and free?")
            if address:
                raise DataError(f"camera {stem_of(source)} does not answer, or streams in a format OpenCV lacks")
            raise DataError(f"video {source} cannot be opened: it is damaged, cut short, or of a format OpenCV lacks")
        width, height = (self._capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        refusal = too_many(int(width), int(height))
        if refusal:
            self._capture.release()
            raise DataError(f"video {source} {refusal}")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.live = is_camera or (address and not frames)
        self.expected = 0 if is_camera or address else frames

    def frames(self, limit: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """All frames, at most `limit`; a video that ends before it should is said.

        Raises:
            DataError: not one frame can be decoded.
        """
        count = 0
        try:
            while limit is None or count < limit:
                found, frame = self._capture.read()
                if not found:
                    break
                count += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        finally:
            self._capture.release()
        if count == 0:
            raise DataError(f"no frame of {self._source} can be decoded; it is damaged, or in a format OpenCV lacks")
        if count < min(self.expected, limit or self.expected):
            logger.warning(
                "%s says it has %d frames, but ends after %d: it is cut short or damaged; what was decoded is kept",
                self._source,
                self.expected,
                count,
            )


def _is_camera(source: str) -> bool:
    """A number is a camera, unless a file or folder is called so, as VOC's years are."""
    return source.isdecimal() and not Path(source).exists()
