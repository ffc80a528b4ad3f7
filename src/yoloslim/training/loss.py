"""The YOLOv5 loss: which cells and anchors answer for a box, and what a wrong answer costs.

It trains heads of every `BoxDecoding`. Two things follow from the decoding: boxes are compared after it, and a
neighbouring cell answers for a box only if it can put a centre there. So heads that cannot leave their cell
(YOLOv3) learn from the cell of the centre alone, as Darknet trains them, and none is asked for the impossible.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloslim.config import TrainParams
from yoloslim.models.spec import EXP_LIMIT, ModelSpec

Total = Callable[[Tensor], Tensor]

LEVEL_BALANCE = {2: (4.0, 1.0), 3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06)}
"""Weight of each level's objectness, fine to coarse: fine levels have many more empty cells."""


@dataclass(frozen=True)
class Gains:
    """Weights of the parts; the fields of the same names in `train:` of params.yaml, which says what each means."""

    box_gain: float
    obj_gain: float
    cls_gain: float
    anchor_t: float
    label_smoothing: float

    @classmethod
    def of(cls, params: TrainParams) -> "Gains":
        """The weights that params.yaml asks for."""
        return cls(**{name: getattr(params, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Assignment:
    """The answering predictions of one level: k of them.

    Attributes:
        image, anchor, row, column: int64 (k,), where in the head's output.
        boxes: float32 (k, 4), centre relative to the cell's corner, width, height; in cells.
        labels: int64 (k,).
        anchors: float32 (k, 2), in cells.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    boxes: Tensor
    labels: Tensor
    anchors: Tensor

    def to(self, device: torch.device) -> "Assignment":
        """The same on another device, in one copy that waits for nothing (numbers below 2^24 are exact in fp32)."""
        if device == self.boxes.device:
            return self
        numbers = torch.stack([self.image, self.anchor, self.row, self.column, self.labels], 1).float()
        packed = torch.cat([numbers, self.boxes, self.anchors], 1)
        packed = (packed.pin_memory() if device.type == "cuda" else packed).to(device, non_blocking=True)
        image, anchor, row, column, labels = packed[:, :5].long().unbind(1)
        return Assignment(image, anchor, row, column, packed[:, 5:9], labels, packed[:, 9:])


def assign(targets: Tensor, anchors: Tensor, grid: tuple[int, int], anchor_t: float, reach: float = 0.5) -> Assignment:
    """Choose the predictions of one level that answer for each box.

    An anchor answers when neither side of the box is over `anchor_t` times, or under 1 / `anchor_t` of, its own.
    The cell that holds the box's centre answers, and so do the neighbours beside and above or below it whose border
    is nearer to that centre than `reach`: two with the reach of YOLOv5.

    Args:
        targets: (n, 6), image, class, centre x, y, width, height as shares of the image.
        anchors: (a, 2), in cells.
        grid: rows and columns of the level.
        anchor_t: see above.
        reach: cells that a centre can lie outside its own cell, 0 to 0.5; (scale_x_y - 1) / 2.
    """
    rows, columns = grid
    device = targets.device
    size = torch.tensor([columns, rows], device=device)
    centre, sides = targets[:, 2:4] * size, targets[:, 4:6] * size
    ratio = sides[None] / anchors[:, None]
    fits = torch.maximum(ratio, 1 / ratio).amax(2) < anchor_t
    anchor, box = torch.nonzero(fits, as_tuple=True)

    xy = centre[box]
    near_low = (xy % 1 < reach) & (xy > 1)
    near_high = (xy % 1 > 1 - reach) & (xy < size - 1)
    here = torch.ones_like(near_low[:, :1])
    steps = torch.tensor([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]], device=device)
    step, pick = torch.nonzero(torch.cat([here, near_low, near_high], 1).T, as_tuple=True)
    anchor, box, xy = anchor[pick], box[pick], xy[pick]
    cell = (xy + steps[step] * 0.5).long()  # the half that the centre is nearer to
    cell = torch.minimum(cell.clamp_min(0), size - 1)
    return Assignment(
        image=targets[box, 0].long(),
        anchor=anchor,
        row=cell[:, 1],
        column=cell[:, 0],
        boxes=torch.cat([xy - cell, sides[box]], 1),
        labels=targets[box, 1].long(),
        anchors=anchors[anchor],
    )


def complete_iou(a: Tensor, b: Tensor, eps: float = 1e-7) -> Tensor:
    """Complete IoU of boxes given as centre and sides, (k, 4) each: (k,) at most 1 (arXiv 1911.08287)."""
    half_a, half_b = a[:, 2:] / 2, b[:, 2:] / 2
    low_a, high_a = a[:, :2] - half_a, a[:, :2] + half_a
    low_b, high_b = b[:, :2] - half_b, b[:, :2] + half_b
    overlap = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(0).prod(1)
    union = a[:, 2:].prod(1) + b[:, 2:].prod(1) - overlap + eps
    iou = overlap / union
    hull = torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)
    distance = (a[:, :2] - b[:, :2]).square().sum(1) / (hull.square().sum(1) + eps)
    angle = torch.atan(b[:, 2] / (b[:, 3] + eps)) - torch.atan(a[:, 2] / (a[:, 3] + eps))
    shape = (4 / torch.pi**2) * angle.square()
    with torch.no_grad():
        weight = shape / (1 - iou + shape + eps)
    return iou - distance - weight * shape


class DetectionLoss:
    """Loss of raw heads against targets; a callable without weights of its own."""

    def __init__(self, spec: ModelSpec, gains: Gains, device: torch.device, total: Total | None = None) -> None:
        """Take the geometry of a model.

        Args:
            spec: anchors, strides, classes, image size.
            gains: see Gains.
            device: where the heads are.
            total: sums a tensor over the processes that share a batch; None when there is one.
        """
        levels = len(spec.strides)
        self.gains, self.nc, self.total = gains, spec.nc, total
        sizes = [torch.tensor(a) / s for a, s in zip(spec.anchors, spec.strides, strict=True)]
        self.anchors = [a.to(device) for a in sizes]
        self._anchors = {"cpu": sizes, device.type: self.anchors}
        self.kind, self.scales = spec.decoding.kind, spec.decoding.scales(levels)
        self.balance = LEVEL_BALANCE[levels]
        # the gains were tuned for 3 levels, 80 classes and 640 px
        self.box_weight = gains.box_gain * 3 / levels
        self.cls_weight = gains.cls_gain * spec.nc / 80 * 3 / levels
        self.obj_weight = gains.obj_gain * (spec.imgsz / 640) ** 2 * 3 / levels

    def __call__(self, heads: list[Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a batch, or of this process's part of it.

        Args:
            heads: raw logits by level, (B, a, h, w, 5 + nc).
            targets: (n, 6), see `assign`; on the CPU no device is waited for.

        Returns:
            The loss (a scalar, summed over the images of the whole batch), and its parts box, obj, cls (3,), means,
            detached. Where processes share a batch, theirs add up to those of one process with the whole batch.
        """
        found = self._assign(heads, targets)
        counts = [len(f.labels) for f in found] + [len(heads[0])]
        if self.total:
            counts = self.total(torch.tensor(counts, dtype=torch.float64)).long().tolist()
        images = counts[-1]
        box = heads[0].new_zeros((), dtype=torch.float32)
        obj, cls = box.clone(), box.clone()
        levels = zip(heads, found, counts, self.balance, self.scales, strict=False)  # the last count is of images
        for head, mine, count, balance, scale in levels:
            goal = torch.zeros(head.shape[:4], device=head.device)
            if len(mine.labels):
                answers = mine.to(head.device)
                answer = head[answers.image, answers.anchor, answers.row, answers.column].float()
                iou = complete_iou(boxes_of(answer, answers.anchors, self.kind, scale), answers.boxes)
                box = box + (1 - iou).sum() / count
                # where two boxes claim one prediction the better fit counts, whatever the order
                place = (answers.image, answers.anchor, answers.row, answers.column)
                flat = _flat_index(place, goal.shape)
                goal.view(-1).scatter_reduce_(0, flat, iou.detach().clamp(0), "amax")
                if self.nc > 1:
                    cls = cls + self._class_loss(answer[:, 5:], answers.labels) / (count * self.nc)
            cells = images * goal[0].numel()
            obj = obj + balance * _cross_entropy(head[..., 4].float(), goal) / cells
        parts = torch.stack([self.box_weight * box, self.obj_weight * obj, self.cls_weight * cls])
        return parts.sum() * images, parts.detach()

    def _assign(self, heads: list[Tensor], targets: Tensor) -> list[Assignment]:
        levels = zip(heads, self._anchors[targets.device.type], self.scales, strict=True)
        return [
            assign(targets, anchors, (head.shape[2], head.shape[3]), self.gains.anchor_t, (scale - 1) / 2)
            for head, anchors, scale in levels
        ]

    def _class_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        smooth = self.gains.label_smoothing
        goal = torch.full_like(logits, 0.5 * smooth)
        goal[torch.arange(len(labels), device=labels.device), labels] = 1 - 0.5 * smooth
        return _cross_entropy(logits, goal)


def _cross_entropy(logits: Tensor, goal: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, goal, reduction="sum")


def boxes_of(answer: Tensor, anchors: Tensor, kind: str, scale: float) -> Tensor:
    """Boxes (k, 4) of raw answers (k, 5 + nc), in cells, centre relative to the cell's corner; see `BoxDecoding`."""
    centre = answer[:, :2].sigmoid() * scale - (scale - 1) / 2
    sides = answer[:, 2:4]
    factor = (sides.sigmoid() * 2).square() if kind == "yolov5" else sides.clamp_max(EXP_LIMIT).exp()
    return torch.cat([centre, factor * anchors], 1)


def _flat_index(place: tuple[Tensor, ...], shape: torch.Size) -> Tensor:
    flat = torch.zeros_like(place[0])
    for index, length in zip(place, shape, strict=True):
        flat = flat * length + index
    return flat
