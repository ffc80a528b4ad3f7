"""A split as training wants it: one tensor of images, padded tensors of boxes."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from yoloslim.data.store import geometries, image_store
from yoloslim.data.voc import VocSplit


@dataclass(frozen=True)
class TrainSet:
    """All of a split, indexable by a tensor of image numbers.

    Attributes:
        images: uint8 (N, S, S, 3), RGB, each image at the top left.
        sizes: int64 (N, 2), width and height of each image on its canvas.
        boxes: float32 (N, M, 4), xyxy in canvas pixels, padded with zeros.
        labels: int64 (N, M), padded with -1.
    """

    images: Tensor
    sizes: Tensor
    boxes: Tensor
    labels: Tensor

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


def load_train_set(split: VocSplit, imgsz: int, cache_dir: Path, device: torch.device | None = None) -> TrainSet:
    """Open a split for training; difficult boxes are left out, as VOC trainers do.

    Images stay memory-mapped on the CPU; on another device they are copied there when they fill at most half
    of its free memory.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing writes to it
        images = torch.from_numpy(image_store(split, imgsz, cache_dir))
    if device is not None and device.type == "cuda" and images.numel() < torch.cuda.mem_get_info(device)[0] // 2:
        images = images.to(device)
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
    return TrainSet(images, sizes, torch.from_numpy(boxes), torch.from_numpy(labels))
