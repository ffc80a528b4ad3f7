"""Task-aligned assignment: which cells answer for a box, and how strongly (TOOD, arXiv 2108.07755).

Only pairs of a box and a cell inside it are ever looked at, so that memory grows with the area of the boxes, not with
boxes times cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
"""Alignment is score^0.5 x overlap^6."""

INSIDE = 1e-9
"""A centre lies inside a box if it is farther than this from all sides, px."""


@dataclass(frozen=True)
class Limits:
    """How many cells answer for one box.

    Attributes:
        first: best cells by alignment that a box takes.
        second: of those, the best that it keeps once cells taken by several boxes have gone to one; None keeps all.
    """

    first: int
    second: int | None = None


@dataclass(frozen=True)
class Answers:
    """The k cells that answer.

    Attributes:
        box: int64 (k,), numbers of the boxes.
        cell: int64 (k,), where in all cells of an image.
        weight: float32 (k,), the soft target in [0, 1].
    """

    box: Tensor
    cell: Tensor
    weight: Tensor


def candidates(boxes: Tensor, grids: Sequence[tuple[int, int]], strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The pairs of a box and a cell whose centre lies inside it.

    A side shorter than the second stride counts as that long, about the same centre: boxes smaller than a cell
    would otherwise have none.

    Args:
        boxes: (n, 4), `xyxy` in px.
        grids: rows and columns of each level.
        strides: px per cell, one a level.

    Returns:
        Numbers of the boxes and of the cells, int64 (p,) each; cells are counted through all levels, row by row.
    """
    least = strides[min(1, len(strides) - 1)]
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    short = 2 * half < least
    low = torch.where(short, middle - least / 2, boxes[:, :2])
    high = torch.where(short, middle + least / 2, boxes[:, 2:])
    found, start = [], 0
    for (rows, columns), stride in zip(grids, strides, strict=True):
        inside = []
        for axis, count in ((1, rows), (0, columns)):
            centre = (torch.arange(count, device=boxes.device) + 0.5) * stride
            inside.append((centre - low[:, axis, None] > INSIDE) & (high[:, axis, None] - centre > INSIDE))
        box, row, column = torch.nonzero(inside[0][:, :, None] & inside[1][:, None], as_tuple=True)
        found.append(torch.stack([box, start + row * columns + column]))
        start += rows * columns
    box, cell = torch.cat(found, 1)
    return box, cell


def assign(box: Tensor, place: Tensor, cell: Tensor, score: Tensor, overlap: Tensor, limits: Limits) -> Answers:
    """Choose among candidate pairs.

    A box takes its best cells by alignment. A cell taken by several goes to the box that it overlaps most, of all
    that it lies in, the first of equals. An alignment of zero takes nothing, as its target would be zero.

    Args:
        box: int64 (p,), number of the box.
        place: int64 (p,), number of the cell among those of all images.
        cell: int64 (p,), number of the cell among those of its image.
        score: (p,), predicted probability of the box's class, in [0, 1].
        overlap: (p,), complete IoU of the predicted box with the box, at least 0.
        limits: cells a box.
    """
    boxes, places = _size(box), _size(place)
    alignment = score**SCORE_POWER * overlap**OVERLAP_POWER
    taken = (_rank(box, alignment, boxes) < limits.first) & (alignment > 0)
    best = _largest(place, overlap, places)
    owner = torch.full((places,), boxes, device=box.device)
    fits = overlap == best[place]
    owner.scatter_reduce_(0, place[fits], box[fits], "amin")
    contested = torch.bincount(place[taken], minlength=places)[place] > 1
    chosen = torch.nonzero(torch.where(contested, box == owner[place], taken)).flatten()
    if limits.second is not None:
        chosen = chosen[_rank(box[chosen], alignment[chosen], boxes) < limits.second]
    box, alignment, overlap = box[chosen], alignment[chosen], overlap[chosen]
    factor = _largest(box, overlap, boxes) / (_largest(box, alignment, boxes) + 1e-9)
    return Answers(box, cell[chosen], alignment * factor[box])


def _size(numbers: Tensor) -> int:
    return int(numbers.max()) + 1 if len(numbers) else 0


def _rank(group: Tensor, value: Tensor, groups: int) -> Tensor:
    """Place of each value in its group, the largest first."""
    order = torch.argsort(value, descending=True, stable=True)
    order = order[torch.argsort(group[order], stable=True)]
    counts = torch.bincount(group, minlength=groups)
    rank = torch.empty_like(group)
    rank[order] = torch.arange(len(group), device=group.device) - (counts.cumsum(0) - counts)[group[order]]
    return rank


def _largest(group: Tensor, value: Tensor, groups: int) -> Tensor:
    """Largest value of each group, 0 for an empty one."""
    return value.new_zeros(groups).scatter_reduce_(0, group, value, "amax")
