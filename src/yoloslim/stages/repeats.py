"""The same training with several seeds, to tell what is better from what had luck.

`finetune.repeats` trainings go one after the other, with the seeds `seed`, `seed` + 1 and so on. The first one's model
goes on through the pipeline, whatever came of the others: these are measured on the test images, and tell the spread.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from yoloslim.config import Params
from yoloslim.models.detector import Detector
from yoloslim.stages.common import MODELS, REPEATS
from yoloslim.stages.training import Training, train_resumable
from yoloslim.training.fit import Fit

logger = logging.getLogger("yoloslim")


def train_repeats(
    params: Params,
    begin: Callable[[], tuple[Training, Detector]],
    repeats: int,
    more: Callable[[Fit], dict[str, float]] | None = None,
) -> None:
    """Train so many times; what an interrupted run has done is not done again.

    Args:
        params: all sections.
        begin: which training, and where it starts, made anew for each.
        repeats: how often, at least 1.
        more: writes further files from what came out of the first; see `train_resumable`.
    """
    checkpoints: list[Path | None] = []
    for number in range(repeats):
        training, model = begin()
        if repeats > 1:
            logger.info("%s: training %d of %d, seed %d", training.name, number + 1, repeats, params.seed + number)
        if not number:
            shutil.rmtree(MODELS / training.name / REPEATS, ignore_errors=True)
        checkpoints.append(train_resumable(_with_seed(params, number), replace(training, repeat=number), model, more))
    for checkpoint in filter(None, checkpoints):
        checkpoint.unlink(missing_ok=True)


def _with_seed(params: Params, number: int) -> Params:
    """The params of a repeat; MLflow, which has one run a model, follows the first."""
    if not number:
        return params
    tracking = params.tracking.model_copy(update={"enabled": False})
    return params.model_copy(update={"seed": params.seed + number, "tracking": tracking})
