"""The prepared data as the stages use it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloslim.config import Params
from yoloslim.data.evalset import EvalSet, load_eval_set
from yoloslim.data.trainset import TrainSet, load_train_set
from yoloslim.data.voc import VocSplit, load_split
from yoloslim.stages.common import DATA

BATCH = 32
"""Images at once where the number may change the last digits of a model: fixed, so that it is no parameter of it."""


def split_of(name: str, root: Path = DATA) -> VocSplit:
    """A split of the prepared data."""
    return load_split(root, name)


def eval_set(params: Params, split: str, root: Path = DATA) -> EvalSet:
    """A split, letterboxed for evaluation."""
    return load_eval_set(split_of(split, root), params.imgsz, Path(params.train.cache_dir) / "images")


def train_set(params: Params, root: Path = DATA) -> TrainSet:
    """The split `train`, in the largest size that any epoch asks for."""
    t = params.train
    size = max((params.imgsz, *t.resolutions))
    return load_train_set(split_of("train", root), size, Path(t.cache_dir) / "images", t.memory_gb)


def training_images(params: Params, count: int) -> Iterator[Tensor]:
    """Batches (B, 3, S, S) in [0, 1] of training images, chosen by the seed."""
    return as_batches(training_sample(params, count))


def training_sample(params: Params, count: int) -> NDArray[np.uint8]:
    """Training images (n, S, S, 3), letterboxed for evaluation, chosen by the seed."""
    images = eval_set(params, "train").images
    return images[np.random.default_rng(params.seed).permutation(len(images))[:count]]


def as_batches(images: NDArray[np.uint8]) -> Iterator[Tensor]:
    """Images (n, S, S, 3) as batches (B, 3, S, S) in [0, 1]."""
    for start in range(0, len(images), BATCH):
        yield torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).float() / 255
