"""The prepared data as PyTorch takes it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloslim.config import Params
from yoloslim.data.augment import Augmentation, Augmenter, Batch
from yoloslim.data.trainset import TrainSet, load_train_set
from yoloslim.stages.common import DATA
from yoloslim.stages.inputs import BATCH, prepared_split, training_sample


def train_set(params: Params, root: Path = DATA) -> TrainSet:
    """The split `train`, in the largest size that any epoch asks for."""
    t = params.train
    size = max((params.imgsz, *t.resolutions))
    return load_train_set(prepared_split("train", root), size, Path(t.cache_dir) / "images", t.memory_gb)


def training_images(params: Params, count: int) -> Iterator[Tensor]:
    """Batches (B, 3, S, S) in [0, 1] of training images, chosen by the seed."""
    return as_batches(training_sample(params, count))


def statistics_images(params: Params, count: int, images: TrainSet | None = None) -> Callable[[], Iterator[Tensor]]:
    """What BatchNorm statistics are re-estimated on, chosen by the seed; each call gives the same batches again.

    Images as evaluation sees them; where training composes mosaics to its end, mosaics as it makes them: the network
    has not learnt to live with the statistics of anything else.

    Args:
        params: all sections.
        count: images, or mosaics.
        images: the training set, where it is at hand.
    """
    if not params.train.mosaic or params.train.close_mosaic:
        sample = training_sample(params, count)
        return lambda: as_batches(sample)
    known = images or train_set(params)
    augmenter = Augmenter(known, Augmentation.of(params.train), torch.device("cpu"))

    def batches() -> Iterator[Tensor]:
        rng = torch.Generator().manual_seed(params.seed)
        for part in torch.split(torch.randperm(len(known), generator=rng)[:count], BATCH):
            yield augmenter.batch(part, rng, size=params.imgsz).images

    return batches


def plain_batches(images: TrainSet, count: int, seed: int) -> Iterator[Batch]:
    """Batches of training images with their boxes, chosen by the seed, not augmented."""
    augmenter, rng = Augmenter(images, Augmentation.none(), torch.device("cpu")), torch.Generator().manual_seed(seed)
    for part in torch.split(torch.randperm(len(images), generator=rng)[:count], BATCH):
        yield augmenter.batch(part, rng, compose=False)


def as_batches(images: NDArray[np.uint8]) -> Iterator[Tensor]:
    """Images (n, S, S, 3) as batches (B, 3, S, S) in [0, 1]."""
    for start in range(0, len(images), BATCH):
        yield torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).float() / 255
