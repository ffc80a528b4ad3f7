"""Which images make each step, in which size, and making them ahead of time."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from yoloslim.config import TrainParams
from yoloslim.data.augment import Augmentation, Augmenter, Batch, Plan
from yoloslim.data.trainset import TrainSet
from yoloslim.data.workers import worker_count
from yoloslim.errors import TrainError
from yoloslim.models.spec import ModelSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What goes into one step of an epoch.

    Attributes:
        index: which step of the epoch.
        images: how many images the whole batch has, over all processes.
        batch: this process's part of it.
        updates: whether the optimizer steps on it, with the gradients of all batches since the last update.
    """

    index: int
    images: int
    batch: Batch
    updates: bool


class Batches:
    """The steps of every epoch: each a pure function of seed, epoch and step, however many workers make them."""

    def __init__(
        self,
        train_set: TrainSet,
        params: TrainParams,
        epochs: int,
        seed: int,
        spec: ModelSpec,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Take a data set.

        Args:
            train_set: images and boxes, the images where they shall stay.
            params: `batch`, which must not be 0, is of all processes together, as is `nominal_batch`.
            epochs: of the whole training, for phases of resolution and the last epochs without mosaic.
            seed: start of all random numbers.
            spec: of the model; sides of images are multiples of its largest stride.
            device: where batches are wanted.
            rank, world: which of how many processes this is.

        Raises:
            TrainError: there are fewer images, or images a step, than processes.
        """
        if params.batch < world:
            raise TrainError(f"train.batch is {params.batch}, less than the {world} devices that share it; raise it")
        odd = [side for side in params.resolutions if side % max(spec.strides)]
        if odd:
            raise TrainError(f"train.resolutions: {odd} are no multiples of {spec.name}'s stride, {max(spec.strides)}")
        if len(train_set) < world:
            raise TrainError(
                f"{len(train_set)} training images for {world} device(s): take more images or fewer devices"
            )
        self.params, self.epochs, self.seed = params, epochs, seed
        self.imgsz, self.grid = spec.imgsz, max(spec.strides)
        self.rank, self.world, self.count = rank, world, len(train_set)
        self.per_update = max(1, round(params.nominal_batch / params.batch))
        self.augmenter = Augmenter(train_set, Augmentation.of(params), device)
        self.weights = image_weights(train_set.labels) if params.image_weights else None
        held = self.augmenter.train_set.images.device.type == device.type
        self.workers = params.workers or (0 if held else worker_count(0))

    def __len__(self) -> int:
        """Steps an epoch. A last batch with fewer images than processes is left out."""
        full, rest = divmod(self.count, self.params.batch)
        return full + (rest >= self.world)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Step]:
        """The steps of an epoch, from `first` on."""
        rng = torch.Generator().manual_seed(_mix(self.seed, epoch, -1))
        if self.weights is None:
            order = torch.randperm(self.count, generator=rng)
        else:
            order = torch.multinomial(self.weights, self.count, replacement=True, generator=rng)
        parts = list(torch.split(order, self.params.batch))[: len(self)]
        jobs = (partial(self._plan, epoch, index, parts[index]) for index in range(first, len(parts)))
        for index, plan in enumerate(ahead(jobs, self.workers), start=first):
            updates = (index + 1) % self.per_update == 0 or index + 1 == len(parts)
            yield Step(index, len(parts[index]), self.augmenter.finish(plan), updates)

    def _plan(self, epoch: int, index: int, images: Tensor) -> Plan:
        rng = torch.Generator().manual_seed(_mix(self.seed, epoch, index))
        size = self._size(epoch, rng)
        compose = epoch < self.epochs - self.params.close_mosaic
        return self.augmenter.plan(images, rng, compose, size, slice(self.rank, None, self.world))

    def largest_size(self, epoch: int) -> int:
        """Side of the largest images that an epoch may have, px."""
        return self._sizes(epoch)[1]

    def _size(self, epoch: int, rng: torch.Generator) -> int:
        low, high = self._sizes(epoch)
        return low + self.grid * int(torch.randint((high - low) // self.grid + 1, (1,), generator=rng))

    def _sizes(self, epoch: int) -> tuple[int, int]:
        phases, spread = self.params.resolutions, self.params.multi_scale
        size = phases[epoch * len(phases) // self.epochs] if phases else self.imgsz
        if not spread:
            return size, size
        return _to_grid(size * (1 - spread), self.grid), _to_grid(size * (1 + spread), self.grid)


def largest_side(params: TrainParams, spec: ModelSpec) -> int:
    """Side of the largest images that any epoch may have, px."""
    return _to_grid(max(params.resolutions or (spec.imgsz,)) * (1 + params.multi_scale), max(spec.strides))


def _to_grid(side: float, grid: int) -> int:
    return max(grid, math.floor(side / grid + 0.5) * grid)


def image_weights(labels: Tensor) -> Tensor:
    """How often to draw each image (N,), from labels (N, M), -1 for none: by its boxes, rare classes counting more.

    A box counts 1 / (number of boxes of its class). An image without boxes is as likely as the mean image.
    """
    real = labels >= 0
    counts = torch.bincount(labels[real], minlength=1).float()
    weights = torch.where(real, 1 / counts.clamp_min(1)[labels.clamp_min(0)], 0.0).sum(1)
    mean = float(weights.mean()) if real.any() else 1.0
    return torch.where(real.any(1), weights, mean)


def ahead(jobs: Iterable[Callable[[], T]], workers: int) -> Iterator[T]:
    """Results of jobs in their order, as many of them ahead of time as there are workers; 0 makes each when due."""
    if not workers:
        yield from (job() for job in jobs)
        return
    rest = iter(jobs)
    with ThreadPoolExecutor(workers) as pool:
        due: deque[Future[T]] = deque(pool.submit(job) for job in islice(rest, workers + 1))
        try:
            while due:
                result = due.popleft().result()
                due.extend(pool.submit(job) for job in islice(rest, 1))
                yield result
        finally:
            for future in due:
                future.cancel()


def _mix(seed: int, epoch: int, step: int) -> int:
    """One number out of three, so that no two steps of a training share theirs."""
    return (seed * 1_000_003 + epoch) * 1_000_003 + step + 1
