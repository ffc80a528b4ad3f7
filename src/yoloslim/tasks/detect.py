"""Task `detect`: images with boxes drawn in, and the boxes as JSON."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import DataError
from yoloslim.files import write_json
from yoloslim.runner import damage
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.output import Output
from yoloslim.runner.tasks import Inference, draw_detections
from yoloslim.tasks.sources import refuse_other_pictures

logger = logging.getLogger(__name__)

RESULTS = "detections.json"


class Detection(NamedTuple):
    """An object that was found.

    Attributes:
        name: of its class.
        score: 0 to 1.
        xyxy: its box in pixels of the image.
    """

    name: str
    score: float
    xyxy: tuple[float, float, float, float]


def find_objects(
    inference: Inference, images: Iterable[str | PathLike[str] | NDArray[np.uint8]]
) -> Iterator[list[Detection]]:
    """The objects of each image, a file or RGB (H, W, 3), best first.

    Raises:
        DataError: a file that cannot be read, or an array of another shape or type.
    """
    for number, image in enumerate(images):
        pixels = _read(inference, Path(image)) if isinstance(image, str | PathLike) else image
        if not isinstance(pixels, np.ndarray):
            raise DataError(
                f"image {number} is a {type(pixels).__name__}; give a file, or RGB as an array uint8 (H, W, 3); of a "
                "picture of PIL that is numpy.asarray(picture.convert('RGB'))"
            )
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise DataError(f"image {number} is {pixels.dtype} {pixels.shape}; give RGB as uint8 (H, W, 3)")
        canvas, place = inference.prepare(pixels)
        rows = inference.find(inference.infer(canvas), place)
        yield [
            Detection(inference.classes[int(label)], score, (left, top, right, bottom))
            for left, top, right, bottom, score, label in rows.tolist()
        ]


def _read(inference: Inference, path: Path) -> NDArray[np.uint8]:
    if path.is_dir():
        raise DataError(f"image {path} is a folder; give its files, such as sorted(Path('{path}').glob('*.jpg'))")
    refuse_other_pictures(path)
    try:
        with damage.told(logger.warning):
            return inference.read(path)
    except RunnerError as error:
        raise DataError(str(error)) from error


def detect_images(inference: Inference, paths: Sequence[Path], output: Output) -> dict[str, int]:
    """Write every image with its boxes, under its own name, and `detections.json`.

    An image that cannot be read is left out and the others go on.

    Returns:
        Images written, boxes found.

    Raises:
        DataError: at the end, when images could not be read; names them.
    """
    with damage.told(logger.warning):
        found, complaint = draw_detections(inference, paths, output, logger.warning)
    records = {name: as_records(rows, inference.classes) for name, rows in found.items()}
    write_json(output.folder / RESULTS, {"backend": inference.backend, "images": records})
    if complaint:
        raise DataError(complaint)
    return {"images": len(found), "boxes": sum(map(len, found.values()))}


def as_records(rows: NDArray[np.float32], classes: Sequence[str]) -> list[dict[str, object]]:
    """Detections (n, 6) as JSON: class, score, and the box in pixels of the image."""
    return [
        {"class": classes[int(row[5])], "score": round(float(row[4]), 4), "xyxy": [round(float(v), 1) for v in row[:4]]}
        for row in rows
    ]
