"""Mosaic, affine, colour, flip and mixup as batched tensor operations on the training device.

Every random number comes from the generator that is passed in, so a batch is a pure function of its seed.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloslim.boxes import FILL
from yoloslim.data.trainset import TrainSet

MIN_SIDE_PX = 2.0
MIN_VISIBLE = 0.1
"""A box is kept when both sides and this share of its area are left after the crop."""


@dataclass(frozen=True)
class Augmentation:
    """Strengths; the fields of the same names in `train:` of params.yaml."""

    mosaic: float = 1.0
    mixup: float = 0.0
    scale: float = 0.5
    translate: float = 0.1
    degrees: float = 0.0
    shear: float = 0.0
    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    flip: float = 0.5


@dataclass(frozen=True)
class Batch:
    """What the network trains on.

    Attributes:
        images: float32 (B, 3, S, S) in [0, 1], channels last in memory.
        targets: float32 (n, 6): image number in the batch, class, then centre x, y, width, height as shares of S.
    """

    images: Tensor
    targets: Tensor


class Augmenter:
    """Makes augmented batches out of a TrainSet; holds the canvas that it draws them on."""

    def __init__(self, train_set: TrainSet, strengths: Augmentation, device: torch.device) -> None:
        self.train_set = train_set
        self.strengths = strengths
        self.device = device
        self._canvas = torch.empty(0, device=device)

    def batch(self, indices: Tensor, rng: torch.Generator, compose: bool = True) -> Batch:
        """Augment the images with these numbers.

        Args:
            indices: int64 (B,), on the CPU.
            rng: CPU generator.
            compose: False leaves out mosaic and mixup (for the last epochs).
        """
        size, n = self.train_set.imgsz, len(indices)
        tiles, origins = self._layout(indices, rng, compose)
        linear, target = self._affine(n, rng)
        images = self._warp(self._draw(tiles, origins), linear, target)
        images = self._colour(images, rng)
        boxes, labels = self._boxes(tiles, origins, linear, target)
        if compose and self.strengths.mixup > 0 and n > 1:
            images, boxes, labels = self._mixup(images, boxes, labels, rng)
        image, slot = torch.nonzero(labels >= 0, as_tuple=True)
        xyxy = boxes[image, slot] / size
        columns = [image.float()[:, None], labels[image, slot].float()[:, None]]
        targets = torch.cat([*columns, (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)
        return Batch(images, targets.to(self.device))

    def _layout(self, indices: Tensor, rng: torch.Generator, compose: bool) -> tuple[Tensor, Tensor]:
        """Which images make each canvas of twice the size, and where their corners lie: (B, 4) and (B, 4, 2) px.

        Mosaic: four images touch at a point drawn around the canvas centre. Otherwise one image is centred, and
        the other three numbers are -1.
        """
        size, n = self.train_set.imgsz, len(indices)
        others = torch.randint(len(self.train_set), (n, 3), generator=rng)
        centre = (torch.rand(n, 1, 2, generator=rng) + 0.5) * size
        mosaic = torch.rand(n, generator=rng) < (self.strengths.mosaic if compose else 0.0)
        tiles = torch.cat([indices[:, None], others], 1)
        sizes = self.train_set.sizes[tiles]
        side = torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0]])  # 1: the image ends at the point, 0: it starts there
        origins = centre.round().long() - side * sizes
        origins[~mosaic] = size // 2 + (size - sizes[~mosaic]) // 2  # where evaluation's letterbox puts it
        tiles[~mosaic, 1:] = -1
        return tiles, origins

    def _draw(self, tiles: Tensor, origins: Tensor) -> Tensor:
        """Paste images onto canvases (B, 2S, 2S, 3); values are grey levels above the fill."""
        size = self.train_set.imgsz
        shape = (len(tiles), 2 * size, 2 * size, 3)
        if len(self._canvas) < len(tiles):
            self._canvas = torch.empty(shape, device=self.device)
        canvas = self._canvas[: len(tiles)].zero_()
        sizes = self.train_set.sizes
        for row, (numbers, corners) in enumerate(zip(tiles.tolist(), origins.tolist(), strict=True)):
            for number, (x, y) in zip(numbers, corners, strict=True):
                if number < 0:
                    continue
                width, height = sizes[number].tolist()
                left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, 2 * size), min(y + height, 2 * size)
                if right <= left or bottom <= top:
                    continue
                part = self.train_set.images[number, top - y : bottom - y, left - x : right - x]
                place = canvas[row, top:bottom, left:right]
                place.copy_(part, non_blocking=True)
                place.sub_(FILL)
        return canvas

    def _affine(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random maps from canvas to output: linear part (B, 2, 2), and where the canvas centre lands (B, 2) px."""
        s, size = self.strengths, self.train_set.imgsz
        zoom, angle, shear_x, shear_y, shift_x, shift_y = (2 * torch.rand(6, n, generator=rng) - 1).unbind()
        mirror = torch.where(torch.rand(n, generator=rng) < s.flip, -1.0, 1.0)
        zoom, angle = 1 + zoom * s.scale, torch.deg2rad(angle * s.degrees)
        skew_x, skew_y = torch.deg2rad(shear_x * s.shear).tan(), torch.deg2rad(shear_y * s.shear).tan()
        one = torch.ones(n)
        rotate = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
        skew = torch.stack([one, skew_x, skew_y, one], 1).view(n, 2, 2)
        flip = torch.diag_embed(torch.stack([mirror, one], 1))
        linear = flip @ skew @ rotate * zoom[:, None, None]
        target = (0.5 + torch.stack([shift_x, shift_y], 1) * s.translate) * size
        return linear, target

    def _warp(self, canvas: Tensor, linear: Tensor, target: Tensor) -> Tensor:
        """Sample canvases (B, 2S, 2S, 3) bilinearly into images (B, 3, S, S); outside is fill."""
        size, n = self.train_set.imgsz, len(canvas)
        inverse = torch.linalg.inv(linear)
        # affine_grid wants both sides in [-1, 1]: output pixels are S/2 a unit, canvas pixels S a unit
        shift = (inverse @ (size / 2 - target)[..., None]) / size
        theta = torch.cat([inverse * 0.5, shift], 2).to(canvas.device)
        grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
        return F.grid_sample(canvas.permute(0, 3, 1, 2), grid, padding_mode="zeros", align_corners=False)

    def _colour(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Turn hue, scale saturation and value by one 3x3 matrix an image, and bring values to [0, 1].

        Hue turns about the grey axis and saturation scales the distance from it, in RGB (Haeberli, "Matrix
        operations for image processing", 1993); cheaper than a round trip through HSV, and the same on any device.
        """
        s, n = self.strengths, len(images)
        hue, saturation, value = (2 * torch.rand(3, n, generator=rng) - 1).unbind()
        angle = hue * s.hsv_h * math.pi
        saturation, value = 1 + saturation * s.hsv_s, 1 + value * s.hsv_v
        grey = torch.full((3, 3), 1 / 3)
        cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        across = torch.eye(3) - grey
        turn = angle.cos()[:, None, None] * across + angle.sin()[:, None, None] * cross
        matrix = (grey + saturation[:, None, None] * turn) * value[:, None, None] / 255
        offset = (FILL / 255) * value  # grey stays grey under the rotation, so the fill only changes its value
        flat = torch.baddbmm(offset.to(images.device)[:, None, None], matrix.to(images.device), images.flatten(2))
        return flat.clamp_(0, 1).view_as(images).contiguous(memory_format=torch.channels_last)

    def _boxes(self, tiles: Tensor, origins: Tensor, linear: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Map boxes onto the output: (B, 4M, 4) xyxy px and (B, 4M) labels, -1 where none is left."""
        size, n = self.train_set.imgsz, len(tiles)
        boxes = self.train_set.boxes[tiles] + origins.repeat(1, 1, 2)[:, :, None]
        labels = torch.where((tiles >= 0)[..., None], self.train_set.labels[tiles], -1)
        boxes, labels = boxes.view(n, -1, 4).clamp(0, 2 * size) - size, labels.view(n, -1)
        corners = boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].view(n, -1, 2) @ linear.mT + target[:, None]
        corners = corners.view(n, -1, 4, 2)
        whole = torch.cat([corners.amin(2), corners.amax(2)], 2)
        seen = whole.clamp(0, size)
        sides, all_sides = seen[..., 2:] - seen[..., :2], whole[..., 2:] - whole[..., :2]
        keep = (sides > MIN_SIDE_PX).all(2) & (sides.prod(2) > MIN_VISIBLE * all_sides.prod(2))
        return seen, torch.where(keep, labels, -1)

    def _mixup(
        self, images: Tensor, boxes: Tensor, labels: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Blend some images with their neighbour in the batch, half and half, and keep the boxes of both."""
        blend = torch.rand(len(images), generator=rng) < self.strengths.mixup
        weight = torch.where(blend, 0.5, 0.0).to(images.device)[:, None, None, None]
        mixed = images.lerp(images.roll(1, 0), weight)
        guests = torch.where(blend[:, None], labels.roll(1, 0), -1)
        return mixed, torch.cat([boxes, boxes.roll(1, 0)], 1), torch.cat([labels, guests], 1)
