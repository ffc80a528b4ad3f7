"""The YOLOv5 loss: which cells and anchors answer for a box, and what a wrong answer costs.

It trains heads of every `BoxDecoding`. Two things follow from the decoding: boxes are compared after it, and a
neighbouring cell answers for a box only if it can put a centre there. So heads that cannot leave their cell
(YOLOv3) learn from the cell of the centre alone, as Darknet trains them, and none is asked for the impossible.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloslim.config import TrainParams
from yoloslim.heads.anchor import AnchorHead
from yoloslim.heads.iou import complete_iou
from yoloslim.runner.heads.anchor import factors, offsets

Total = Callable[[Tensor], Tensor]

LEVEL_BALANCE = {2: (4.0, 1.0), 3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06)}
"""Weight of each level's objectness, fine to coarse: fine levels have many more empty cells."""

USUAL_GAINS = {"box_gain": 0.05, "cls_gain": 1.5}
"""Weights where params.yaml gives none."""

SURE = 0.01
"""Below this objectness a teacher says nothing about boxes and classes: its weight there would be next to none."""


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
        given = {name: getattr(params, name) for name in cls.__dataclass_fields__}
        return cls(**{name: USUAL_GAINS[name] if value is None else value for name, value in given.items()})


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


class AnchorLoss:
    """Loss of raw logits by level, (B, a, h, w, 5 + nc), against targets; see `heads.base.Loss`."""

    parts = ("box", "obj", "cls")

    def __init__(
        self,
        head: AnchorHead,
        classes: int,
        imgsz: int,
        gains: Gains,
        device: torch.device,
        total: Total | None = None,
    ) -> None:
        """See `Head.loss`; `gains` are the weights of the parts."""
        levels = len(head.strides)
        self.gains, self.nc, self.total = gains, classes, total
        sizes = [torch.tensor(a) / s for a, s in zip(head.anchors, head.strides, strict=True)]
        self.anchors = [a.to(device) for a in sizes]
        self._anchors = {"cpu": sizes, device.type: self.anchors}
        self.kind, self.scales = head.decoding.kind, head.scales
        self.balance = LEVEL_BALANCE[levels]
        # the gains were tuned for 3 levels, 80 classes and 640 px
        self.box_weight = gains.box_gain * 3 / levels
        self.cls_weight = gains.cls_gain * classes / 80 * 3 / levels
        self.obj_weight = gains.obj_gain * (imgsz / 640) ** 2 * 3 / levels

    def __call__(self, outputs: Sequence[Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`; with targets on the CPU no device is waited for."""
        found = self._assign(outputs, targets)
        counts = [len(f.labels) for f in found] + [len(outputs[0])]
        if self.total:
            counts = self.total(torch.tensor(counts, dtype=torch.float64)).long().tolist()
        images = counts[-1]
        box = outputs[0].new_zeros((), dtype=torch.float32)
        obj, cls = box.clone(), box.clone()
        levels = zip(outputs, found, counts, self.balance, self.scales, strict=False)  # the last count is of images
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

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """See `Loss`: the weights stay the same."""

    def distance(self, student: Sequence[Tensor], teacher: Sequence[Tensor], temperature: float) -> Tensor:
        """See `Loss`: objectness-scaled distillation (arXiv 1805.06361).

        Every cell learns the teacher's objectness; its box and classes count as far as the teacher is sure that there
        is an object, so that the many empty cells teach nothing wrong. The parts stand in for those of the loss and
        carry its weights, level by level: for the box 1 - complete IoU with the teacher's box, for objectness and
        classes the Kullback-Leibler divergence of Bernoulli distributions. Class logits are divided by a temperature
        T, and the divergence multiplied by T^2 (arXiv 1503.02531). A student that equals its teacher costs 0.
        """
        total = student[0].new_zeros((), dtype=torch.float32)
        levels = zip(student, teacher, self.anchors, self.balance, self.scales, strict=True)
        for mine, theirs, anchors, balance, scale in levels:
            mine, theirs = mine.float(), theirs.float()
            total = total + self.obj_weight * balance * bernoulli_kl(mine[..., 4], theirs[..., 4]).mean()
            sure = theirs[..., 4].sigmoid()
            cells = torch.nonzero(sure > SURE, as_tuple=True)
            if len(cells[0]):
                weight = sure[cells] / sure[cells].sum()
                costs = self._costs(mine[cells], theirs[cells], anchors[cells[1]], scale, temperature)
                total = total + (weight * (self.box_weight * costs[0] + self.cls_weight * costs[1])).sum()
        return total

    def certainty(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """See `Loss`: the largest objectness of a cell's anchors."""
        return [head[..., 4].float().sigmoid().amax(1) for head in outputs]

    def _costs(
        self, mine: Tensor, theirs: Tensor, anchors: Tensor, scale: float, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Costs of boxes and of classes, (k,) each, of raw answers (k, 5 + classes)."""
        box = 1 - complete_iou(boxes_of(mine, anchors, self.kind, scale), boxes_of(theirs, anchors, self.kind, scale))
        if self.nc == 1:  # the class of an only class is not trained
            return box, torch.zeros_like(box)
        t = temperature
        return box, t * t * bernoulli_kl(mine[:, 5:] / t, theirs[:, 5:] / t).mean(1)

    def _assign(self, outputs: Sequence[Tensor], targets: Tensor) -> list[Assignment]:
        levels = zip(outputs, self._anchors[targets.device.type], self.scales, strict=True)
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


def bernoulli_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(teacher || student) of Bernoulli distributions given by logits, elementwise."""
    p = teacher.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits
    return cross_entropy(student, p, reduction="none") - cross_entropy(teacher, p, reduction="none")


def boxes_of(answer: Tensor, anchors: Tensor, kind: str, scale: float) -> Tensor:
    """Boxes (k, 4) of raw answers (k, 5 + nc), in cells, centre relative to the cell's corner; see `BoxDecoding`."""
    sides = answer[:, 2:4]
    centre = offsets(answer[:, :2].sigmoid(), scale)
    return torch.cat([centre, factors(sides, sides.sigmoid(), kind) * anchors], 1)


def _flat_index(place: tuple[Tensor, ...], shape: torch.Size) -> Tensor:
    flat = torch.zeros_like(place[0])
    for index, length in zip(place, shape, strict=True):
        flat = flat * length + index
    return flat
