"""The loss of anchor-free heads: what is wrong with classes, boxes and distances of the cells that answer."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from yoloslim.heads.anchor_free_assignment import Answers, Limits, assign, candidates
from yoloslim.heads.iou import complete_iou

if TYPE_CHECKING:
    from yoloslim.config import TrainParams

logger = logging.getLogger(__name__)

Total = Callable[[Tensor], Tensor]

ONE_TO_MANY, ONE_TO_ONE = Limits(10), Limits(7, 1)
SURE = 0.01
"""Below this score a teacher says nothing about a box: its weight there would be next to none."""

USUAL_GAINS = {"box_gain": 7.5, "cls_gain": 0.5, "dfl_gain": 1.5}
"""Published weights of the parts, where params.yaml gives none."""

LEAST_BOX_GAIN = 1.0
"""A smaller weight of the box was meant for another kind of head: theirs are 0.02 to 0.05."""

FIRST_SHARE, LAST_SHARE = 0.8, 0.1
"""Weight of the one-to-many branch in the first and in the last epoch."""


def one_to_many_share(epoch: int, epochs: int) -> float:
    """Weight of the one-to-many branch in an epoch of so many, counted from 0; the other branch has the rest."""
    return LAST_SHARE + (FIRST_SHARE - LAST_SHARE) * max(1 - epoch / max(epochs - 1, 1), 0)


def gains_of(params: "TrainParams") -> tuple[float, float, float]:
    """Weights of the parts box, cls and dfl."""
    given = {name: getattr(params, name) for name in USUAL_GAINS}
    box, cls, dfl = (usual if given[name] is None else given[name] for name, usual in USUAL_GAINS.items())
    if box < LEAST_BOX_GAIN:
        logger.warning(
            "train.box_gain %g suits heads with anchors; without them %g is usual, and boxes will hardly be learnt: "
            "set train.box_gain=null for the head's own, or take a preset of this family (`yoloslim preset`)",
            *(box, USUAL_GAINS["box_gain"]),
        )
    return box, cls, dfl


def expected_distances(logits: Tensor, bins: int) -> Tensor:
    """Distances of the four sides from the cell's centre, in cells.

    Args:
        logits: (k, 4 bins), side by side: left, top, right, bottom.
        bins: a side's distribution is over 0, 1, ... bins - 1 cells; one stands for the distance itself.

    Returns:
        (k, 4).
    """
    if bins == 1:
        return logits
    return logits.view(-1, 4, bins).softmax(2) @ torch.arange(bins, dtype=logits.dtype, device=logits.device)


def distribution_loss(logits: Tensor, distances: Tensor, bins: int) -> Tensor:
    """Distribution focal loss (arXiv 2006.04388): cross-entropy with the two bins beside the true distance.

    Args:
        logits: (k, 4 bins).
        distances: true ones, (k, 4), in cells; beyond the last bin they count as nearly there.
        bins: of a side.

    Returns:
        Mean over the sides, (k,).
    """
    true = distances.clamp(0, bins - 1 - 0.01)
    low = true.long()
    share = true - low
    log = logits.view(-1, 4, bins).log_softmax(2)
    near, far = (log.gather(2, index[:, :, None])[:, :, 0] for index in (low, low + 1))
    return -((1 - share) * near + share * far).mean(1)


class AnchorFreeLoss:
    """Loss of raw outputs against targets; a callable without weights of its own."""

    parts = ("box", "cls", "dfl")

    def __init__(
        self,
        strides: Sequence[int],
        bins: int,
        nc: int,
        gains: tuple[float, float, float],
        total: Total | None = None,
    ) -> None:
        """Take the geometry of a head.

        Args:
            strides: px per cell, one a level.
            bins: of a side.
            nc: number of classes.
            gains: weights of the parts.
            total: sums a tensor over the processes that share a batch; None when there is one.
        """
        self.strides, self.bins, self.nc, self.gains, self.total = tuple(strides), bins, nc, gains, total
        self.share = FIRST_SHARE

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Shift weight between the branches, where there are two."""
        self.share = one_to_many_share(epoch, epochs)

    def __call__(self, outputs: Sequence[Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a batch, or of this process's part of it.

        Args:
            outputs: raw, by level, (B, 4 bins + nc, h, w); of two branches one-to-many, then one-to-one.
            targets: (n, 6), image, class, centre x, y, width, height as shares of the image.

        Returns:
            The loss (a scalar, summed over the images of the whole batch), and its parts (3,), means, detached: those
            of the one-to-one branch where there are two. Where processes share a batch, theirs add up to those of one
            process with the whole batch.
        """
        levels = len(self.strides)
        branches = [(outputs[:levels], ONE_TO_MANY), (outputs[levels:], ONE_TO_ONE)]
        if len(outputs) == levels:
            del branches[1]
        targets = targets.to(outputs[0].device)
        sums, weights = zip(*(self._branch(maps, targets, limits) for maps, limits in branches), strict=True)
        counts = torch.stack([*weights, weights[0].new_tensor(len(outputs[0]))])
        counts = self.total(counts) if self.total else counts
        parts = torch.stack(sums) / counts[:-1, None].clamp_min(1)
        shares = (self.share, 1 - self.share) if len(branches) == 2 else (1.0,)
        mixed = (parts.sum(1) * parts.new_tensor(shares)).sum()
        return mixed * counts[-1], parts[-1].detach()

    def distance(self, student: Sequence[Tensor], teacher: Sequence[Tensor], temperature: float) -> Tensor:
        """How far a student's detections are from a teacher's, a scalar; 0 where they are equal.

        The parts stand in for those of the loss and carry its weights. Classes cost the Kullback-Leibler divergence of
        Bernoulli distributions in every cell, of logits divided by a temperature T, times T^2 (arXiv 1503.02531). A
        box costs 1 - complete IoU with the teacher's, and its distributions the divergence of the bins; a cell counts
        as far as the teacher is sure of a class. Of two branches the last one learns, whose answers the teacher gives.

        Args:
            student: raw outputs.
            teacher: likewise.
            temperature: above 0.
        """
        levels, cut = len(self.strides), 4 * self.bins
        mine, theirs = (
            torch.cat([each.flatten(2) for each in outputs[-levels:]], 2).float() for outputs in (student, teacher)
        )
        centres, _ = self._cells(student[-levels:])
        sure = theirs[:, cut:].detach().sigmoid().amax(1)
        p = (theirs[:, cut:] / temperature).sigmoid()
        logits = mine[:, cut:] / temperature
        classes = temperature**2 * (
            F.binary_cross_entropy_with_logits(logits, p, reduction="sum")
            - F.binary_cross_entropy_with_logits(theirs[:, cut:] / temperature, p, reduction="sum")
        )
        image, cell = torch.nonzero(sure > SURE, as_tuple=True)
        weight = sure[image, cell]
        a, b = mine[image, :, cell][:, :cut], theirs[image, :, cell][:, :cut]
        found, wanted = (_centred(expected_distances(each, self.bins), centres[cell]) for each in (a, b))
        box = (weight * (1 - complete_iou(found, wanted))).sum()
        spread = mine.new_zeros(())
        if self.bins > 1:
            goal = b.view(-1, 4, self.bins).log_softmax(2)
            gap = (goal.exp() * (goal - a.view(-1, 4, self.bins).log_softmax(2))).sum(2).mean(1)
            spread = (weight * gap).sum()
        parts = torch.stack([box, classes, spread])
        return (parts * parts.new_tensor(self.gains)).sum() / sure.sum().clamp_min(1)

    def certainty(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """See `Loss`: the largest score of a class; of two branches the last."""
        return [each[:, 4 * self.bins :].float().sigmoid().amax(1) for each in outputs[-len(self.strides) :]]

    def _branch(self, maps: Sequence[Tensor], targets: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
        """Parts of one branch as weighted sums (3,), and the sum of its soft targets, by which they are divided."""
        rows, columns = maps[0].shape[2:]
        image_size = targets.new_tensor([columns, rows]) * self.strides[0]  # width, height in px
        flat = torch.cat([each.flatten(2) for each in maps], 2).float()
        logits = flat[:, 4 * self.bins :]
        centres, strides = self._cells(maps)
        image, label = targets[:, 0].long(), targets[:, 1].long()
        middle, half = targets[:, 2:4] * image_size, targets[:, 4:] * image_size / 2
        boxes = torch.cat([middle - half, middle + half], 1)
        with torch.no_grad():
            found = self._assign(flat, maps, boxes, image, label, limits)
        at, cell, weight = image[found.box], found.cell, found.weight
        stride = strides[cell, None]
        answer = flat[at, :, cell][:, : 4 * self.bins]
        distances = expected_distances(answer, self.bins)
        true = boxes[found.box] / stride
        goal = torch.cat([centres[cell] - true[:, :2], true[:, 2:] - centres[cell]], 1)
        iou = complete_iou(_centred(distances, centres[cell]), _centred(goal, centres[cell]))
        if self.bins > 1:
            spread = distribution_loss(answer, goal, self.bins)
        else:
            spread = ((distances - goal) * stride / image_size.repeat(2)).abs().mean(1)
        wrong_class = F.softplus(logits).sum() - (logits[at, label[found.box], cell] * weight).sum()  # cross-entropy
        sums = torch.stack([(weight * (1 - iou)).sum(), wrong_class, (weight * spread).sum()])
        return sums * sums.new_tensor(self.gains), weight.sum()

    def _assign(
        self, flat: Tensor, maps: Sequence[Tensor], boxes: Tensor, image: Tensor, label: Tensor, limits: Limits
    ) -> Answers:
        """Which cells answer: those of candidate pairs are decoded, each once."""
        centres, strides = self._cells(maps)
        box, cell = candidates(boxes, [(each.shape[2], each.shape[3]) for each in maps], self.strides)
        place = image[box] * len(strides) + cell
        asked = torch.zeros(len(flat) * len(strides), dtype=torch.bool, device=flat.device)
        asked[place] = True
        places = torch.nonzero(asked).flatten()
        at, where = places // len(strides), places % len(strides)
        distances = expected_distances(flat[at, :, where][:, : 4 * self.bins], self.bins)
        decoded = _centred(distances, centres[where]) * strides[where, None]
        predicted = decoded[(asked.cumsum(0) - 1)[place]]
        true = torch.cat([boxes[:, :2] + boxes[:, 2:], 2 * (boxes[:, 2:] - boxes[:, :2])], 1)[box] / 2
        overlap = complete_iou(true, predicted).clamp_min(0)
        score = flat[image[box], 4 * self.bins + label[box], cell].sigmoid()
        return assign(box, place, cell, score, overlap, limits)

    def _cells(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Centres (A, 2) in cells and strides (A,) of all cells, level by level, row by row."""
        centres, strides = [], []
        for each, stride in zip(maps, self.strides, strict=True):
            rows, columns = each.shape[2:]
            grid = torch.meshgrid(
                torch.arange(rows, device=each.device), torch.arange(columns, device=each.device), indexing="ij"
            )
            centres.append(torch.stack([grid[1], grid[0]], 2).view(-1, 2) + 0.5)
            strides.append(torch.full((rows * columns,), float(stride), device=each.device))
        return torch.cat(centres), torch.cat(strides)


def _centred(distances: Tensor, centres: Tensor) -> Tensor:
    """Boxes (k, 4) as centre and sides, of distances (k, 4) of their sides from a cell's centre (k, 2)."""
    low, high = centres - distances[:, :2], centres + distances[:, 2:]
    return torch.cat([(low + high) / 2, high - low], 1)
