"""Task `detect`: images with boxes drawn in, and the boxes as JSON."""

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import DataError
from yoloslim.files import atomic_path, write_json
from yoloslim.runner.pictures import draw_boxes
from yoloslim.runner.tasks import Pipeline, draw_detections
from yoloslim.tasks.sources import Stream

logger = logging.getLogger(__name__)

RESULTS = "detections.json"


def detect_images(pipeline: Pipeline, paths: Sequence[Path], out_dir: Path) -> dict[str, int]:
    """Write every image with its boxes to `out_dir`, under its own name, and `detections.json`.

    An image that cannot be read is left out and the others go on.

    Returns:
        Images written, boxes found.

    Raises:
        DataError: at the end, when images could not be read; names them.
    """
    found, complaint = draw_detections(pipeline, paths, out_dir, logger.warning)
    records = {name: as_records(rows, pipeline.classes) for name, rows in found.items()}
    write_json(out_dir / RESULTS, {"backend": pipeline.backend, "images": records})
    if complaint:
        raise DataError(complaint)
    return {"images": len(found), "boxes": sum(map(len, found.values()))}


def detect_stream(pipeline: Pipeline, stream: Stream, path: Path, limit: int | None = None) -> dict[str, int]:
    """Write a video with boxes; Ctrl-C ends it, and what was written is kept.

    Returns:
        Frames written, boxes found.
    """
    frames = boxes = 0
    writer: cv2.VideoWriter | None = None
    with atomic_path(path) as temporary:
        try:
            for image in stream.frames(limit):
                canvas, place = pipeline.prepare(image)
                rows = pipeline.find(pipeline.infer(canvas), place)
                if writer is None:
                    size = (image.shape[1], image.shape[0])
                    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), stream.fps, size)
                writer.write(cv2.cvtColor(draw_boxes(image, rows, pipeline.classes), cv2.COLOR_RGB2BGR))
                frames, boxes = frames + 1, boxes + len(rows)
        except KeyboardInterrupt:
            logger.info("stopped after %d frames", frames)
        finally:
            if writer is not None:
                writer.release()
    return {"images": frames, "boxes": boxes}


def as_records(rows: NDArray[np.float32], classes: Sequence[str]) -> list[dict[str, object]]:
    """Detections (n, 6) as JSON: class, score, and the box in pixels of the image."""
    return [
        {"class": classes[int(row[5])], "score": round(float(row[4]), 4), "xyxy": [round(float(v), 1) for v in row[:4]]}
        for row in rows
    ]
