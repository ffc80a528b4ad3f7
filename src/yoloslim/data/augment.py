"""Mosaic, affine, colour, flip and mixup of a whole batch at once, on the training device.

Every random number comes from the generator that is passed in, so a batch is a pure function of its seed, and it may
be prepared ahead by another thread. Where the decoded images lie decides who samples their pixels: the device itself
when it holds them (`sampling.gather`), otherwise OpenCV on the CPU (`sampling.warp`). Both are the same bilinear map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloslim.config import TrainParams
from yoloslim.data.sampling import Layout, gather, warp
from yoloslim.data.trainset import TrainSet

MIN_SIDE_PX = 2.0
MIN_VISIBLE = 0.1
"""A box is kept when both sides and this share of its area are left after the crop."""


@dataclass(frozen=True)
class Augmentation:
    """Strengths; the fields of the same names in `train:` of params.yaml, which says what each means."""

    mosaic: float
    mixup: float
    scale: float
    translate: float
    degrees: float
    shear: float
    hsv_h: float
    hsv_s: float
    hsv_v: float
    flip: float

    @classmethod
    def of(cls, params: TrainParams) -> "Augmentation":
        """The strengths that params.yaml asks for."""
        return cls(**{name: getattr(params, name) for name in cls.__dataclass_fields__})

    @classmethod
    def none(cls) -> "Augmentation":
        """Images just as evaluation sees them."""
        return cls(**dict.fromkeys(cls.__dataclass_fields__, 0.0))


@dataclass(frozen=True)
class Batch:
    """What the network trains on.

    Attributes:
        images: float32 (B, 3, S, S) in [0, 1], channels last in memory, on the training device.
        targets: float32 (n, 6) on the CPU: image number in the batch, class, then centre x, y, width, height as
            shares of S.
    """

    images: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Plan:
    """A batch all but made: every random choice, its boxes, and the pixels if the CPU samples them.

    Attributes:
        layout: which images lie where, and the map from output to canvas.
        pixels: uint8 (B, S, S, 3) RGB on the CPU; None when the device holds the images.
        colours: (B, 3, 3), maps grey levels (0-255) to the network's input (0-1).
        blend: (B,) bool, blended with the image before it in the batch.
        targets: as in Batch.
    """

    layout: Layout
    pixels: Tensor | None
    colours: Tensor
    blend: Tensor
    targets: Tensor


class Augmenter:
    """Makes augmented batches out of a TrainSet."""

    def __init__(self, train_set: TrainSet, strengths: Augmentation, device: torch.device) -> None:
        self.train_set, self.strengths, self.device = train_set, strengths, device
        self._sizes, self._boxes_px, self._labels = train_set.sizes, train_set.boxes, train_set.labels

    def batch(self, indices: Tensor, rng: torch.Generator, compose: bool = True, size: int | None = None) -> Batch:
        """Augment the images with these numbers; see `plan`."""
        return self.finish(self.plan(indices, rng, compose, size))

    def plan(
        self,
        indices: Tensor,
        rng: torch.Generator,
        compose: bool = True,
        size: int | None = None,
        rows: slice = slice(None),
    ) -> Plan:
        """All of a batch that needs no training device; safe to call from several threads.

        Args:
            indices: int64 (B,), on the CPU.
            rng: CPU generator.
            compose: False leaves out mosaic and mixup (for the last epochs).
            size: side of the output, px; by default that of the stored images.
            rows: which of the B images to make. All draw from one generator, so that processes which share a batch
                make the very images that one process would make.
        """
        size, n = size or self.train_set.imgsz, len(indices)
        tiles, origins = self._place(indices, rng, compose)
        linear, target = self._affine(n, size, rng)
        colours = self._colours(n, rng)
        blend = torch.rand(n, generator=rng) < (self.strengths.mixup if compose and n > 1 else 0.0)
        layout = Layout(tiles[rows], origins[rows], linear[rows], target[rows], size)
        boxes, labels = self._boxes(layout)
        if blend[rows].any():  # a blended image keeps the boxes of both
            guests = torch.where(blend[rows, None], labels.roll(1, 0), -1)
            boxes, labels = torch.cat([boxes, boxes.roll(1, 0)], 1), torch.cat([labels, guests], 1)
        on_host = self.train_set.images.device.type == "cpu"
        pixels = warp(self.train_set, layout, pin=self.device.type == "cuda") if on_host else None
        return Plan(layout, pixels, colours[rows], blend[rows], _as_targets(boxes, labels, size))

    def finish(self, plan: Plan) -> Batch:
        """Sample the pixels if that is not done yet, colour and blend them."""
        if plan.pixels is None:
            pixels = gather(self.train_set, plan.layout)
        else:
            pixels = plan.pixels.to(self.device, non_blocking=True).float()
        images = _coloured(pixels, plan.colours.to(self.device, non_blocking=True))
        if plan.blend.any():
            weight = torch.where(plan.blend, 0.5, 0.0).to(self.device)[:, None, None, None]
            images = images.lerp(images.roll(1, 0), weight)
        return Batch(images, plan.targets)

    def _place(self, indices: Tensor, rng: torch.Generator, compose: bool) -> tuple[Tensor, Tensor]:
        """Which images make each canvas of twice the size, and where their corners lie: (B, 4) and (B, 4, 2) px.

        Mosaic: four images touch at a point drawn around the canvas centre. Otherwise one image is centred, and
        the other three numbers are -1.
        """
        size, n = self.train_set.imgsz, len(indices)
        others = torch.randint(len(self.train_set), (n, 3), generator=rng)
        centre = (torch.rand(n, 1, 2, generator=rng) + 0.5) * size
        mosaic = torch.rand(n, generator=rng) < (self.strengths.mosaic if compose else 0.0)
        tiles = torch.cat([indices[:, None], others], 1)
        sizes = self._sizes[tiles]
        side = torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0]])  # 1: the image ends at the point, 0: it starts there
        origins = centre.round().long() - side * sizes
        origins[~mosaic] = size // 2 + (size - sizes[~mosaic]) // 2  # where evaluation's letterbox puts it
        tiles[~mosaic, 1:] = -1
        return tiles, origins

    def _affine(self, n: int, size: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random maps from canvas to output: linear part (B, 2, 2), and where the canvas centre lands (B, 2) px."""
        s = self.strengths
        zoom, angle, shear_x, shear_y, shift_x, shift_y = (2 * torch.rand(6, n, generator=rng) - 1).unbind()
        mirror = torch.where(torch.rand(n, generator=rng) < s.flip, -1.0, 1.0)
        zoom, angle = (1 + zoom * s.scale) * size / self.train_set.imgsz, torch.deg2rad(angle * s.degrees)
        skew_x, skew_y = torch.deg2rad(shear_x * s.shear).tan(), torch.deg2rad(shear_y * s.shear).tan()
        one = torch.ones(n)
        rotate = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
        skew = torch.stack([one, skew_x, skew_y, one], 1).view(n, 2, 2)
        flip = torch.diag_embed(torch.stack([mirror, one], 1))
        linear = flip @ skew @ rotate * zoom[:, None, None]
        target = (0.5 + torch.stack([shift_x, shift_y], 1) * s.translate) * size
        return (linear, target) if s.degrees or s.shear else self._on_whole_pixels(linear, target, size)

    def _on_whole_pixels(self, linear: Tensor, target: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The nearest maps that show a square of whole canvas pixels, for maps that only scale and mirror.

        `warp` cuts such a square out and resizes it, in a third of the time that any other map takes.
        """
        zoom, centre = linear.diagonal(dim1=1, dim2=2), self.train_set.imgsz
        side = (size / zoom[:, 1:]).round().clamp_min(1)
        middle = centre + (size / 2 - target) / zoom  # what the middle of the output shows, canvas px
        middle = (middle - side / 2).round() + side / 2
        zoom = zoom.sign() * size / side
        return torch.diag_embed(zoom), size / 2 - zoom * (middle - centre)

    def _colours(self, n: int, rng: torch.Generator) -> Tensor:
        """A 3x3 matrix an image that turns hue, scales saturation and value, and brings grey levels to [0, 1].

        Hue turns about the grey axis and saturation scales the distance from it, in RGB (Haeberli, "Matrix
        operations for image processing", 1993); cheaper than a round trip through HSV, and the same on any device.
        """
        s = self.strengths
        hue, saturation, value = (2 * torch.rand(3, n, generator=rng) - 1).unbind()
        angle = hue * s.hsv_h * math.pi
        saturation, value = 1 + saturation * s.hsv_s, 1 + value * s.hsv_v
        grey = torch.full((3, 3), 1 / 3)
        cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        across = torch.eye(3) - grey
        turn = angle.cos()[:, None, None] * across + angle.sin()[:, None, None] * cross
        return (grey + saturation[:, None, None] * turn) * value[:, None, None] / 255

    def _boxes(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """Map boxes onto the output: (B, 4M, 4) xyxy px and (B, 4M) labels, -1 where none is left."""
        side, size, n = self.train_set.imgsz, layout.size, len(layout.tiles)
        boxes = self._boxes_px[layout.tiles] + layout.origins.repeat(1, 1, 2)[:, :, None]
        labels = torch.where((layout.tiles >= 0)[..., None], self._labels[layout.tiles], -1)
        boxes, labels = boxes.view(n, -1, 4).clamp(0, 2 * side) - side, labels.view(n, -1)
        corners = boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].view(n, -1, 2) @ layout.linear.mT + layout.target[:, None]
        corners = corners.view(n, -1, 4, 2)
        whole = torch.cat([corners.amin(2), corners.amax(2)], 2)
        seen = whole.clamp(0, size)
        sides, all_sides = seen[..., 2:] - seen[..., :2], whole[..., 2:] - whole[..., :2]
        keep = (sides > MIN_SIDE_PX).all(2) & (sides.prod(2) > MIN_VISIBLE * all_sides.prod(2))
        return seen, torch.where(keep, labels, -1)


def _as_targets(boxes: Tensor, labels: Tensor, size: int) -> Tensor:
    image, slot = torch.nonzero(labels >= 0, as_tuple=True)
    xyxy = boxes[image, slot] / size
    columns: Sequence[Tensor] = [image.float()[:, None], labels[image, slot].float()[:, None]]
    return torch.cat([*columns, (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)


def _coloured(pixels: Tensor, matrices: Tensor) -> Tensor:
    """Apply (B, 3, 3) to grey levels (B, S, S, 3): the network's input (B, 3, S, S), channels last, in [0, 1]."""
    n, rows, columns, _ = pixels.shape
    flat = torch.bmm(pixels.view(n, -1, 3), matrices.mT).clamp_(0, 1)
    return flat.view(n, rows, columns, 3).permute(0, 3, 1, 2)
