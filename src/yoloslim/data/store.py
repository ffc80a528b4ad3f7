"""Images decoded once into a compact memory-mapped uint8 array, shared by all stages."""

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from yoloslim.boxes import Letterbox, fit, letterbox
from yoloslim.data.digests import Digests
from yoloslim.data.images import read_image
from yoloslim.data.voc import VocSplit
from yoloslim.disk import reserve
from yoloslim.errors import DataError
from yoloslim.files import atomic_path, write_all
from yoloslim.seals import seal

logger = logging.getLogger(__name__)


def image_store(split: VocSplit, imgsz: int, cache_dir: Path) -> NDArray[np.uint8]:
    """Open the store of a split's images, making it first if no stage has.

    Args:
        split: which images.
        imgsz: longest side after resizing, px.
        cache_dir: folder of stores; each is keyed by the bytes of its images, so it may be deleted at any time. One
            that is damaged is made again.

    Returns:
        Read-only memory map (N, imgsz, imgsz, 3), RGB, each image at the top left, the rest grey.

    Raises:
        DataError: an image that is missing, cannot be decoded, or is not of the size its annotation states.
        YoloslimError: the disk has less room than the store needs; says how much.
    """
    digests = Digests(cache_dir)
    path = cache_dir / f"{_content_key(split, imgsz, digests)}.npy"
    there = path.is_file()
    if there and not digests.whole(path):
        logger.warning("%s is damaged, or was not written to its end: the images are decoded again", path)
        there = False
    if not there:
        with atomic_path(path, sync=False) as temporary:
            _fill(temporary, split, imgsz)
            seal(temporary)
        logger.info("decoded %d images of split '%s' into %s", len(split.ids), split.split, path)
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return images


def geometries(split: VocSplit, imgsz: int) -> tuple[Letterbox, ...]:
    """How each image of a split lies in the store."""
    return tuple(fit(a.width, a.height, imgsz, "topleft") for a in split.annotations)


def _content_key(split: VocSplit, imgsz: int, known: Digests) -> str:
    try:
        digests = known.of([split.image_path(i) for i in range(len(split.ids))])
    except OSError as error:
        raise DataError(f"image {error.filename} cannot be read: {error.strerror}; run the data stage again") from error
    sizes = [(a.width, a.height) for a in split.annotations]  # so that a wrong one is noticed, stored or not
    return hashlib.sha256(json.dumps(["top-left-1", imgsz, digests, sizes]).encode()).hexdigest()[:24]


def _fill(path: Path, split: VocSplit, imgsz: int) -> None:
    """Decode images into a .npy file; written, not mapped, since a full disk ends a process that writes into a map."""
    shape = (len(split.ids), imgsz, imgsz, 3)
    with BytesIO() as stream:
        header_data = {"descr": "|u1", "fortran_order": False, "shape": shape}
        write_array_header_1_0(stream, header_data)
        header = stream.getvalue()
    side = imgsz * imgsz * 3
    reserve(path, len(header) + len(split.ids) * side, "make room, or name a folder on a larger disk: train.cache_dir")

    def decode(i: int) -> None:
        image, annotation = read_image(split.image_path(i)), split.annotations[i]
        if image.shape[:2] != (annotation.height, annotation.width):
            raise DataError(
                f"{split.image_path(i)} is {image.shape[1]}x{image.shape[0]} px, "
                f"but its annotation says {annotation.width}x{annotation.height}; run the data stage again"
            )
        pixels, _ = letterbox(image, imgsz, "topleft")
        write_all(out.fileno(), pixels.tobytes(), len(header) + i * side)

    with path.open("rb+") as out:
        write_all(out.fileno(), header, 0)
        with ThreadPoolExecutor(4) as pool:  # cv2 decodes and resizes outside the interpreter's lock
            list(pool.map(decode, range(len(split.ids))))
