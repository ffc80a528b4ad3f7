"""A split as training wants it: one tensor of images, padded tensors of boxes."""

import mmap
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloslim.data.store import geometries, image_store
from yoloslim.data.stored import Check, unchecked
from yoloslim.data.voc import VocSplit
from yoloslim.errors import memory_is_scarce

SMALLEST_MB = 128
"""No training runs with less memory than this left, whatever its size: threads, kernels, a step of yolov5n."""
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container's limits (cgroup v2)."""


@dataclass(frozen=True)
class TrainSet:
    """All of a split, indexable by a tensor of image numbers.

    Attributes:
        images: uint8 (N, S, S, 3), RGB, each image at the top left.
        sizes: int64 (N, 2), width and height of each image on its canvas.
        boxes: float32 (N, M, 4), xyxy in canvas pixels, padded with zeros.
        labels: int64 (N, M), padded with -1.
        check: to be called before pixels are read.
    """

    images: Tensor
    sizes: Tensor
    boxes: Tensor
    labels: Tensor
    check: Check = unchecked

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def imgsz(self) -> int:
        """Side of the canvas, px."""
        return self.images.shape[1]

    def box_sizes(self) -> Tensor:
        """Width and height of every box, (n, 2), px."""
        real = self.labels >= 0
        return (self.boxes[..., 2:] - self.boxes[..., :2])[real]


def load_train_set(split: VocSplit, imgsz: int, cache_dir: Path, memory_gb: float = 0.0) -> TrainSet:
    """Open a split for training; difficult boxes are left out, as VOC trainers do.

    Args:
        split: which images.
        imgsz: side of the stored images, px.
        cache_dir: folder of stores.
        memory_gb: RAM that images may fill; 0 is half of what is free. Images stay in a memory-mapped file either
            way; those that fit are read ahead, so that the first epoch does not wait for the disk, and those that do
            not are read piece by piece, so that a set larger than the memory trains.

    Raises:
        MemoryError: there is too little for any training; a thread that starts in so little may never answer.
    """
    if memory_is_scarce(SMALLEST_MB):
        raise MemoryError(f"less than the {SMALLEST_MB} MB that the smallest training needs")
    stored = image_store(split, imgsz, cache_dir)
    if len(split.ids):
        _advise(stored.pixels, stored.pixels.nbytes <= (memory_gb * 1e9 or free_memory() / 2))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing writes to it
        images = torch.from_numpy(stored.pixels)
    kept = [~a.difficult for a in split.annotations]
    longest = max(1, *(int(k.sum()) for k in kept), 1)
    boxes = np.zeros((len(split.ids), longest, 4), np.float32)
    labels = np.full((len(split.ids), longest), -1, np.int64)
    letterboxes = geometries(split, imgsz)
    for i, (annotation, keep, box) in enumerate(zip(split.annotations, kept, letterboxes, strict=True)):
        n = int(keep.sum())
        boxes[i, :n] = box.to_canvas(annotation.boxes[keep])
        labels[i, :n] = annotation.labels[keep]
    sizes = torch.tensor([[b.width, b.height] for b in letterboxes], dtype=torch.int64)
    return TrainSet(images, sizes, torch.from_numpy(boxes), torch.from_numpy(labels), stored.check)


def on_device(train_set: TrainSet, device: torch.device, memory_gb: float = 0.0) -> TrainSet:
    """The same set, its images on a GPU when they fit into `memory_gb` there (0: half of what is free)."""
    if device.type != "cuda":
        return train_set
    budget = memory_gb * 1e9 or torch.cuda.mem_get_info(device)[0] / 2
    if train_set.images.numel() > budget:
        return train_set
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(train_set.check, np.array_split(np.arange(len(train_set)), 64)))
    return replace(train_set, images=train_set.images.to(device))


def free_memory() -> int:
    """Bytes of RAM that this process may still take, a container's limit included."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # not a container, or `max`: without a limit
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        rows = (line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        cached = sum(int(value) for name, value in rows if name == "inactive_file")  # given up when memory is wanted
        free = min(free, limit - used + cached)
    return max(free, 0)


def _advise(stored: NDArray[np.uint8], fits: bool) -> None:
    """Tell the kernel how the file behind a memory map will be read, where the system has a way to."""
    mapped = getattr(stored, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_WILLNEED if fits else mmap.MADV_RANDOM)
