"""What the network saw first: a callback that keeps the first batches of a training, for a picture."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from yoloslim.files import atomic_path
from yoloslim.training.callback import Callback, State

SIDE = 256
"""Longer images are made as small as this, px: what is kept lies in every checkpoint."""


class Preview(Callback):
    """Keeps some images of the first steps, augmented and with their boxes, just as they went into the network."""

    def __init__(self, batches: int = 3, images: int = 4) -> None:
        self.batches, self.images = batches, images
        self.pictures: list[Tensor] = []
        self.boxes: list[Tensor] = []

    def after_step(self, state: State) -> None:
        """Take the first images of the batch, if it is one of the first."""
        if state.step >= self.batches or len(self.pictures) > state.step:
            return
        shown = state.images[: self.images].detach().float().cpu()
        if shown.shape[-1] > SIDE:
            shown = F.interpolate(shown, (SIDE, SIDE), mode="area")
        self.pictures.append((shown * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous())
        boxes = state.targets.detach().float().cpu()
        self.boxes.append(boxes[boxes[:, 0] < self.images])

    def saved(self) -> dict[str, Tensor]:
        """See Callback."""
        return {f"{kind}{i}": value for kind in ("pictures", "boxes") for i, value in enumerate(getattr(self, kind))}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """See Callback."""
        count = len(saved) // 2
        self.pictures, self.boxes = ([saved[f"{kind}{i}"] for i in range(count)] for kind in ("pictures", "boxes"))

    def write(self, path: Path) -> None:
        """Write an .npz: `images` uint8 (N, S, S, 3), `batch` (N,), `boxes` (n, 6) as in `data.augment.Batch`.

        The first column of `boxes` counts through all N images. Nothing is written before the first step.
        """
        if not self.pictures:
            return
        starts = np.cumsum([0, *(len(images) for images in self.pictures)])
        boxes = [
            torch.cat([rows[:, :1] + start, rows[:, 1:]], 1) for rows, start in zip(self.boxes, starts, strict=False)
        ]
        with atomic_path(path) as temporary:
            np.savez_compressed(
                temporary,
                images=torch.cat(self.pictures).numpy(),
                batch=np.repeat(np.arange(len(self.pictures)), np.diff(starts)),
                boxes=torch.cat(boxes).numpy(),
            )
