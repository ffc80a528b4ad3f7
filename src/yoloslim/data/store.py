"""Images decoded once into a compact memory-mapped uint8 array, shared by all stages."""

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloslim.boxes import Letterbox, fit, letterbox
from yoloslim.data.digests import Digests
from yoloslim.data.images import read_image
from yoloslim.data.stored import Stored, reserved_store
from yoloslim.data.voc import VocSplit
from yoloslim.errors import DataError
from yoloslim.files import atomic_path

logger = logging.getLogger(__name__)


def image_store(split: VocSplit, imgsz: int, cache_dir: Path) -> Stored:
    """Open the store of a split's images, making it first if no stage has.

    Args:
        split: which images.
        imgsz: longest side after resizing, px.
        cache_dir: folder of stores; each is keyed by the bytes of its images, so it may be deleted at any time. One
            that was not written to its end is made again.

    Returns:
        Images (N, imgsz, imgsz, 3), RGB, each at the top left, the rest grey.

    Raises:
        DataError: an image that is missing, cannot be decoded, or is not of the size its annotation states.
        YoloslimError: the disk has less room than the store needs; says how much.
    """
    path = cache_dir / f"{_content_key(split, imgsz, Digests(cache_dir))}.npy"
    shape, decode = (len(split.ids), imgsz, imgsz, 3), partial(_decode, split, imgsz)
    if path.is_file():
        if (found := Stored.open(path, shape, decode)) is not None:
            return found
        logger.warning("%s is damaged, or was not written to its end: the images are decoded again", path)
    with (
        atomic_path(path, sync=False) as temporary,
        reserved_store(temporary, shape) as write,
        ThreadPoolExecutor(4) as pool,  # cv2 decodes and resizes outside the interpreter's lock
    ):
        list(pool.map(lambda i: write(i, decode(i)), range(len(split.ids))))
    logger.info("decoded %d images of split '%s' into %s", len(split.ids), split.split, path)
    made = Stored.open(path, shape, decode)
    if made is None:
        raise DataError(f"{path} was written and does not hold what was written; look after the disk it lies on")
    return made


def geometries(split: VocSplit, imgsz: int) -> tuple[Letterbox, ...]:
    """How each image of a split lies in the store."""
    return tuple(fit(a.width, a.height, imgsz, "topleft") for a in split.annotations)


def _content_key(split: VocSplit, imgsz: int, known: Digests) -> str:
    try:
        digests = known.of([split.image_path(i) for i in range(len(split.ids))])
    except OSError as error:
        raise DataError(f"image {error.filename} cannot be read: {error.strerror}; run the data stage again") from error
    sizes = [(a.width, a.height) for a in split.annotations]  # so that a wrong one is noticed, stored or not
    return hashlib.sha256(json.dumps(["top-left-2", imgsz, digests, sizes]).encode()).hexdigest()[:24]


def _decode(split: VocSplit, imgsz: int, number: int) -> NDArray[np.uint8]:
    path, annotation = split.image_path(number), split.annotations[number]
    image = read_image(path)
    if image.shape[:2] != (annotation.height, annotation.width):
        raise DataError(
            f"{path} is {image.shape[1]}x{image.shape[0]} px, "
            f"but its annotation says {annotation.width}x{annotation.height}; run the data stage again"
        )
    return letterbox(image, imgsz, "topleft")[0]
