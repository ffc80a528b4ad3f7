"""The prepared data and the thresholds as the stages use them; without PyTorch, which takes seconds to start."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloslim.config import Params
from yoloslim.data.evalset import EvalSet, load_eval_set
from yoloslim.data.voc import VocSplit, load_split
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.stages.common import DATA

BATCH = 32
"""Images at once where the number may change the last digits of a model: fixed, so that it is no parameter of it."""


def prepared_split(name: str, root: Path = DATA) -> VocSplit:
    """A split of the prepared data."""
    return load_split(root, name)


def eval_set(params: Params, split: str, root: Path = DATA) -> EvalSet:
    """A split, letterboxed for evaluation."""
    return load_eval_set(prepared_split(split, root), params.imgsz, Path(params.train.cache_dir) / "images")


def training_sample(params: Params, count: int) -> NDArray[np.uint8]:
    """Training images (n, S, S, 3), letterboxed for evaluation, chosen by the seed."""
    images = eval_set(params, "train").images
    return images[np.random.default_rng(params.seed).permutation(len(images))[:count]]


def nms_options(params: Params) -> NmsOptions:
    """The thresholds of section `evaluation`."""
    e = params.evaluation
    return NmsOptions(e.conf_thres, e.iou_thres, e.max_det, e.multi_label)
