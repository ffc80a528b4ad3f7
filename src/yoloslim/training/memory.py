"""How many images fit into memory: for `train.batch: 0`, and for advice when they did not."""

import logging
from collections.abc import Callable

import torch

logger = logging.getLogger(__name__)

LARGEST = 256
STEPS = 10
"""An epoch should have about this many steps at least: fewer learn little from small sets."""
CPU_BATCH = 32
"""A CPU computes larger batches no faster."""
SHARE = 0.8
"""Of the free memory, what a batch may take: the rest is for the optimizer and for fragments."""

CPU_MESSAGES = ("can't allocate memory", "could not create a primitive")
"""What PyTorch's allocator and oneDNN say when there is no RAM left."""

Attempt = Callable[[int], None]
"""Runs a forward and backward pass of so many images."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on a GPU or in RAM."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in CPU_MESSAGES)


def largest_that_fits(attempt: Attempt, batch: int) -> int:
    """The largest of batch/2, batch/4 ... 1 that an attempt survives; 0 when none does."""
    while batch := batch // 2:
        try:
            attempt(batch)
        except (RuntimeError, MemoryError):  # whatever it says: with so little memory left, errors are odd
            continue
        return batch
    return 0


def usual_batch(images: int, limit: int = CPU_BATCH) -> int:
    """A power of two up to a limit, and small enough that an epoch of so many images has `STEPS` steps."""
    return 1 << (max(1, min(limit, images // STEPS)).bit_length() - 1)


def choose_batch(attempt: Attempt, device: torch.device, images: int) -> int:
    """A batch size that suits data set and memory.

    On a GPU two attempts tell what an image takes. A CPU has no way to tell, and no use for large batches.
    """
    limit = CPU_BATCH
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        small, large = _peak(attempt, device, 2), _peak(attempt, device, 8)
        limit = min(LARGEST, int((SHARE * free - small) // max(1, (large - small) // 6)))
    batch = usual_batch(images, limit)
    logger.info("train.batch is 0: taking %d images a step", batch)
    return batch


def _peak(attempt: Attempt, device: torch.device, batch: int) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    attempt(batch)
    return torch.cuda.max_memory_allocated(device)
