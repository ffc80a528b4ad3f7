"""Accuracy and latency of a bundle's compiled model on a device."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from yoloslim.data.evalset import EvalSet
from yoloslim.deploy.board.device import Device
from yoloslim.deploy.board.job import Backend, BoardRun, prepare_job
from yoloslim.evaluation.evaluate import Evaluation, score
from yoloslim.evaluation.nms import NmsOptions

logger = logging.getLogger(__name__)


def run_on(
    device: Device, bundle: Path, eval_set: EvalSet, options: NmsOptions, backend: Backend, warmup: int
) -> BoardRun:
    """Every image of a set through a bundle's model on a device.

    Raises:
        DeployError: no compiled model, or whatever stands in the way on the device.
    """
    with TemporaryDirectory() as folder:
        job = prepare_job(bundle, Path(folder), eval_set.ids, eval_set.images, options, backend, warmup)
        return device.run(job, bundle, backend, _Progress())


def score_run(run: BoardRun, eval_set: EvalSet) -> Evaluation:
    """Detections of a run, brought from canvases to the pixels of their images, against the truth."""
    places = zip(run.detections, eval_set.annotations, eval_set.letterboxes, strict=True)
    found = [box.detections_to_image(rows, note.width, note.height) for rows, note, box in places]
    return score(eval_set.annotations, found, eval_set.classes)


def latency_of(run: BoardRun) -> dict[str, float | str]:
    """Milliseconds of one image on the device, copies to and from it included, and of its post-processing there."""
    p50, p90 = (float(value) for value in np.percentile(run.inference_ms, [50, 90]))
    return {
        "latency_ms": p50,
        "latency_p50_ms": p50,
        "latency_p90_ms": p90,
        "fps": 1000 / p50,
        "latency_batch": 1,
        "latency_postprocess_ms": float(np.median(run.postprocess_ms)),
        "peak_memory_mb": run.peak_memory_mb,
        "backend": run.backend,
    }


class _Progress:
    """Logs how far a device is, at most every tenth."""

    def __init__(self) -> None:
        self._tenth = 0

    def __call__(self, done: int, of: int) -> None:
        tenth = 10 * done // max(1, of)
        if tenth > self._tenth:
            self._tenth = tenth
            logger.info("device: %d of %d images", done, of)
