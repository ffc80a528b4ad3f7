"""How many images fit into memory: for `train.batch: 0`, and for advice when they did not."""

import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from yoloslim.errors import memory_ran_out
from yoloslim.models.detector import Detector, fuse

logger = logging.getLogger(__name__)

LARGEST = 256
STEPS = 10
"""An epoch should have about this many steps at least: fewer learn little from small sets."""
CPU_BATCH = 32
"""A CPU computes larger batches no faster."""
SHARE = 0.8
"""Of the free memory, what a batch may take: the rest is for the optimizer and for fragments."""

Attempt = Callable[[int], None]
"""Runs a forward and backward pass of so many images."""


def largest_that_fits(attempt: Attempt, batch: int) -> int:
    """The largest of batch/2, batch/4 ... 1 that an attempt survives; 0 when none does."""
    while batch := batch // 2:
        try:
            attempt(batch)
        except (RuntimeError, MemoryError):  # whatever it says: with so little memory left, errors are odd
            continue
        return batch
    return 0


def what_fits(attempt: Attempt, device: torch.device, batch: int, devices: int = 1) -> str:
    """Advice after a batch, over all devices, has found no room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    fits = largest_that_fits(attempt, -(-batch // devices)) * devices
    return f"a batch of {fits} fits: set train.batch={fits}" if fits else "not even one image fits: lower imgsz"


def usual_batch(images: int, limit: int = CPU_BATCH) -> int:
    """A power of two up to a limit, and small enough that an epoch of so many images has `STEPS` steps."""
    return 1 << (max(1, min(limit, images // STEPS)).bit_length() - 1)


def largest_choice(images: int, device: torch.device, devices: int = 1) -> int:
    """The largest batch, over all devices, that `choose_batch` may come to for a data set of so many images."""
    return max(devices, usual_batch(images, devices * LARGEST if device.type == "cuda" else CPU_BATCH))


def choose_batch(attempt: Attempt, device: torch.device, images: int, devices: int = 1) -> int:
    """A batch size, over all devices, that suits data set and memory.

    On a GPU two attempts tell what an image takes. A CPU has no way to tell, and no use for large batches.
    """
    limit = devices * _room(attempt, device) if device.type == "cuda" else CPU_BATCH
    batch = max(devices, usual_batch(images, limit))
    logger.info("train.batch is 0: taking %d images a step", batch)
    return batch


def _room(attempt: Attempt, device: torch.device) -> int:
    """How many images a GPU has room for, next to what it holds already."""
    torch.cuda.empty_cache()
    free, held = torch.cuda.mem_get_info(device)[0], torch.cuda.memory_allocated(device)
    try:
        small, large = (_peak(attempt, device, images) - held for images in (2, 8))
    except (RuntimeError, MemoryError) as error:
        if not memory_ran_out(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
    else:
        return min(LARGEST, 2 + int(SHARE * free - small) // max(1, (large - small) // 6))
    return largest_that_fits(attempt, 8)


def _peak(attempt: Attempt, device: torch.device, batch: int) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    attempt(batch)
    return torch.cuda.max_memory_allocated(device)


def try_batch(
    model: Detector,
    autocast: Callable[[], AbstractContextManager[Any]],
    images: int,
    size: int,
    beside: Sequence[Detector] = (),
) -> None:
    """A forward and backward pass of so many blank images of a side in px, without other processes; leaves no trace.

    The networks beside see the images too, without gradients. The optimizer's state and validation are not in it.
    """
    before = {name: value.clone() for name, value in model.named_buffers()}
    device = next(model.parameters()).device
    try:
        x = torch.zeros((images, 3, size, size), device=device).contiguous(memory_format=torch.channels_last)
        others = [fuse(network).to(device) for network in beside]
        with autocast():
            heads = model(x)
            with torch.no_grad():
                heads += [head for other in others for head in other(x)]
        torch.stack([head.float().sum() for head in heads]).sum().backward()  # type: ignore[no-untyped-call]
    finally:
        model.zero_grad()
        for name, value in model.named_buffers():
            value.copy_(before[name])
