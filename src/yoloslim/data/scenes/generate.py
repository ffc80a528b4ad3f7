"""Write generated scenes to disk as a prepared folder, on all cores."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from yoloslim.data.convert import write_lists
from yoloslim.data.packed import PackedAnnotation
from yoloslim.data.scenes.compose import render_scene
from yoloslim.data.validation import Findings, ReportedImage, build_report, check_not_empty
from yoloslim.data.voc import VOC_CLASSES, write_annotation
from yoloslim.data.workers import worker_count

logger = logging.getLogger(__name__)

Job = tuple[str, int]
Draw = Callable[[Job], ReportedImage]

JPEG_QUALITY = 92
FEWEST_FOR_PROCESSES = 200
"""Below this many images, starting processes takes longer than drawing."""


def generate_scenes(folder: Path, seed: int, size: int, counts: Mapping[str, int], workers: int = 0) -> dict[str, Any]:
    """Draw `counts[split]` scenes of `size` pixels a side for every split into `folder`.

    The files depend on `seed`, `size` and their own index only, not on `workers` or on how many others are drawn.

    Returns:
        The validation report.

    Raises:
        DataError: a split with no image.
    """
    check_not_empty({split: range(n) for split, n in counts.items()}, {s: f"{s}_images=0" for s in counts})
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir()
    jobs = [(split, index) for split, count in counts.items() for index in range(count)]
    drawn = _draw_all(partial(_draw, folder, seed, size), jobs, min(worker_count(workers), len(jobs)))
    splits: dict[str, list[ReportedImage]] = {split: [] for split in counts}
    for (split, _), image in zip(jobs, drawn, strict=True):
        splits[split].append(image)
    names = {split: [image.name for image in images] for split, images in splits.items()}
    write_lists(folder, VOC_CLASSES, names)
    notes = [f"{split}: {count} scenes of {size} px, seed {seed}" for split, count in counts.items()]
    return build_report("scenes", VOC_CLASSES, splits, Findings(), notes)


def _draw_all(draw: Draw, jobs: Sequence[Job], processes: int) -> list[ReportedImage]:
    bar = partial(tqdm, total=len(jobs), desc="drawing scenes", disable=None)
    if processes > 1 and len(jobs) >= FEWEST_FOR_PROCESSES:
        try:
            # spawn: a forked child inherits the locks of torch's and OpenCV's threads, and may wait for ever
            with ProcessPoolExecutor(processes, get_context("spawn"), _one_thread) as pool:
                return list(bar(pool.map(draw, jobs, chunksize=16)))
        except BrokenProcessPool:  # a caller without `if __name__ == "__main__"`, or no memory for so many
            logger.warning("processes that draw scenes died; one process draws them all, which takes longer")
    return list(bar(map(draw, jobs)))


def _one_thread() -> None:
    cv2.setNumThreads(1)  # the processes already fill the cores


def _draw(folder: Path, seed: int, size: int, job: Job) -> ReportedImage:
    split, index = job
    image, annotation = render_scene(seed, split, index, size)
    name = f"{split}_{index:06d}"
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    (folder / "JPEGImages" / f"{name}.jpg").write_bytes(data)
    write_annotation(folder / "Annotations" / f"{name}.xml", f"{name}.jpg", annotation, VOC_CLASSES)
    # Equal pixels give equal bytes here, since all are encoded alike: one key serves for both.
    key = hashlib.sha256(data).digest()
    return ReportedImage(name, PackedAnnotation(annotation).unpacked, key, key)
