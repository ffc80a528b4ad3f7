"""Pixels of augmented images, sampled bilinearly from the stored ones; two ways to the same picture."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloslim.boxes import FILL
from yoloslim.data.trainset import TrainSet

TOUCH = 1e-2
"""How far from a whole pixel an edge may lie to count as on it, px: float32 maps are exact to less."""
CHUNK = 16
"""Images that `gather` works on at once: its index tensors are many times as large as the pixels."""


@dataclass(frozen=True)
class Layout:
    """Where the pixels of each output image come from.

    Up to four stored images lie on a canvas twice their side, S; `linear` and `target` map the canvas to the output.

    Attributes:
        tiles: int64 (B, 4), numbers of stored images: top left, top right, bottom left, bottom right; -1 for none.
        origins: int64 (B, 4, 2), where the top left corner of each lies on the canvas, px. They do not overlap.
        linear: (B, 2, 2), canvas pixels to output pixels.
        target: (B, 2), where the canvas centre lands on the output, px.
        size: side of the output, px.
    """

    tiles: Tensor
    origins: Tensor
    linear: Tensor
    target: Tensor
    size: int

    def from_output(self, side: int) -> Tensor:
        """The map (B, 2, 3) from output to canvas, both in px from the top left corner, for images of `side` px."""
        inverse = torch.linalg.inv(self.linear)
        return torch.cat([inverse, side - inverse @ self.target[..., None]], 2)


def warp(train_set: TrainSet, layout: Layout, pin: bool = False) -> Tensor:
    """Sample on the CPU: uint8 (B, S, S, 3), in page-locked memory if asked for.

    Only the part of the canvas that is seen is drawn. OpenCV samples uint8 in two thirds of the time that
    `grid_sample` takes on a CPU, and a canvas of floats would take more time to fill than either. Where whole pixels
    are seen and not turned, resizing them takes a third of that again; then the outermost pixels of an enlarged
    picture repeat, instead of blending with what is just out of sight.
    """
    side, size = train_set.imgsz, layout.size
    out = torch.empty((len(layout.tiles), size, size, 3), dtype=torch.uint8, pin_memory=pin)
    maps = layout.from_output(side).double().numpy()
    seen = maps @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])
    low, high = seen.min(2), seen.max(2)
    whole = (np.abs(low - low.round()) < TOUCH).all(1) & (maps[:, [0, 1], [1, 0]] == 0).all(1)
    whole &= (high - low < 2 * side + 1).all(1)  # of what is larger, most is empty
    low = np.where(whole[:, None], low.round(), np.clip(np.floor(low) - 1, 0, 2 * side - 1)).astype(int)
    high = np.where(whole[:, None], high.round(), np.clip(np.ceil(high) + 1, low + 1, 2 * side)).astype(int)
    train_set.check(np.unique(layout.tiles[layout.tiles >= 0].numpy()))
    images, sizes = train_set.images.numpy(), train_set.sizes.numpy()
    for image, tiles, origins, matrix, is_whole, first, last in zip(
        out.numpy(), layout.tiles.numpy(), layout.origins.numpy(), maps, whole, low, high, strict=True
    ):
        canvas = np.full((*(last - first)[::-1], 3), FILL, np.uint8)
        for tile, origin in zip(tiles, origins, strict=True):
            if tile >= 0:
                _paste(canvas, images[tile], sizes[tile], origin, first, 2 * side)
        if is_whole:
            cv2.resize(canvas, (size, size), image)
            if matrix[0, 0] < 0:
                cv2.flip(image, 1, image)
        else:
            # OpenCV counts from the middle of the first pixel, matrix from its corner
            shifted = matrix.copy()
            shifted[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5 - first
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            cv2.warpAffine(canvas, shifted, (size, size), image, flags, cv2.BORDER_CONSTANT, (FILL, FILL, FILL))
    return out


def _paste(
    canvas: NDArray[np.uint8],
    image: NDArray[np.uint8],
    size: NDArray[np.int64],
    origin: NDArray[np.int64],
    corner: NDArray[np.int64],
    end: int,
) -> None:
    """Draw an image of `size` at `origin` into the part of the canvas (`end`, `end`) that starts at `corner`; x, y."""
    (x, y), (width, height), (low_x, low_y) = origin.tolist(), size.tolist(), corner.tolist()
    left, top = max(x, low_x, 0), max(y, low_y, 0)
    right, bottom = min(x + width, low_x + canvas.shape[1], end), min(y + height, low_y + canvas.shape[0], end)
    if right > left and bottom > top:
        part = canvas[top - low_y : bottom - low_y, left - low_x : right - low_x]
        part[:] = image[top - y : bottom - y, left - x : right - x]


def gather(train_set: TrainSet, layout: Layout) -> Tensor:
    """Sample on the device that holds the images: float32 (B, S, S, 3), grey levels."""
    device = train_set.images.device
    maps, sizes = layout.from_output(train_set.imgsz), train_set.sizes[layout.tiles]
    edge = _edges(layout, sizes)
    parts = []
    for start in range(0, len(layout.tiles), CHUNK):
        rows = slice(start, start + CHUNK)
        numbers = (layout.tiles, layout.origins, sizes, edge, maps)
        parts.append(_gather(train_set.images, layout.size, *(t[rows].to(device, non_blocking=True) for t in numbers)))
    return torch.cat(parts)


def _edges(layout: Layout, sizes: Tensor) -> Tensor:
    """Where the four tiles of each canvas meet, (B, 2) px; far right and below where there is but one."""
    corner = layout.origins[:, 0] + sizes[:, 0]
    return torch.where(layout.tiles[:, 1:2] >= 0, corner, torch.iinfo(torch.int32).max)


def _gather(
    images: Tensor, size: int, tiles: Tensor, origins: Tensor, sizes: Tensor, edge: Tensor, maps: Tensor
) -> Tensor:
    n, side, device = len(tiles), images.shape[1], images.device
    at = torch.arange(size, device=device) + 0.5
    x, y = at.expand(size, size), at[:, None].expand(size, size)
    # canvas coordinates of the middle of each output pixel, counted from the middle of the first canvas pixel
    u, v = (m[:, 0, None, None] * x + m[:, 1, None, None] * y + m[:, 2, None, None] - 0.5 for m in maps.unbind(1))
    left, top = u.floor(), v.floor()
    share_x, share_y = u - left, v - top
    flat = images.view(-1, 3)
    base = (tiles.clamp_min(0) * side - origins[..., 1]) * side - origins[..., 0]  # (n, 4): index of canvas (0, 0)
    limits = torch.cat([origins, (origins + sizes).clamp_max(2 * side)], 2).clamp_min(0)  # of each tile on the canvas
    total = torch.zeros((n, size, size, 3), device=device)
    for right in (0, 1):
        for below in (0, 1):
            column, row = left.long() + right, top.long() + below
            quarter = ((row >= edge[:, 1, None, None]) * 2 + (column >= edge[:, 0, None, None])).view(n, -1)
            low_x, low_y, high_x, high_y = (limits[..., k].gather(1, quarter).view(n, size, size) for k in range(4))
            inside = (column >= low_x) & (column < high_x) & (row >= low_y) & (row < high_y)
            index = base.gather(1, quarter).view(n, size, size) + row * side + column
            weight = (share_x if right else 1 - share_x) * (share_y if below else 1 - share_y)
            level = flat[torch.where(inside, index, 0)].float() - FILL
            total += level * (weight * inside)[..., None]
    return total + FILL
