"""The network of an anchor-free head; attribute names are those of the public checkpoints."""

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from yoloslim.choices import Branch
from yoloslim.conv import Conv
from yoloslim.heads.anchor_free import Towers

MOST_CLASSES = 100
"""Class towers grow with the number of classes up to this."""

BOX_BIAS = 2.0
"""At birth of all box outputs."""


class _Fixed(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, False)


class FixedBins(nn.Module):
    """The numbers 0, 1, ... that a distribution over distances is weighed with: stored, never trained, never cut."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.conv = _Fixed(torch.arange(bins, dtype=torch.float32).view(1, bins, 1, 1))


class AnchorFreeNetwork(nn.Module):
    """Two towers a level, one for distances and one for classes; twice where `answers` names one of two branches."""

    def __init__(
        self, channels: Sequence[int], classes: int, bins: int, towers: Towers, answers: Branch | None
    ) -> None:
        super().__init__()
        box = max(16, channels[0] // 4, 4 * bins)
        score = max(channels[0], min(classes, MOST_CLASSES))
        make = _full if towers == "full" else _light
        self.cv2 = nn.ModuleList(_full(c, box, 4 * bins) for c in channels)
        self.cv3 = nn.ModuleList(make(c, score, classes) for c in channels)
        if bins > 1:
            self.dfl = FixedBins(bins)
        self.answers = answers
        if answers:
            self.one2one_cv2, self.one2one_cv3 = copy.deepcopy(self.cv2), copy.deepcopy(self.cv3)

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        """Map features (B, C, h, w) by level to logits (B, 4 bins + classes, h, w).

        Of two branches the one-to-many outputs come first, then the one-to-one, which read features that pass no
        gradient on: they teach their own towers only.
        """
        branches = self._branches()
        outputs = [_joined(box, score, x) for box, score, x in zip(*branches[0], xs, strict=True)]
        for boxes, scores in branches[1:]:
            outputs += [_joined(box, score, x.detach()) for box, score, x in zip(boxes, scores, xs, strict=True)]
        return outputs

    def merge(self) -> None:
        """Become the network of the branch that answers alone, in place; nothing to do where there is only one."""
        if self.answers is None:
            return
        if self.answers == "one_to_one":
            self.cv2, self.cv3 = self.one2one_cv2, self.one2one_cv3
        del self.one2one_cv2, self.one2one_cv3
        self.answers = None

    def _branches(self) -> list[tuple[nn.ModuleList, nn.ModuleList]]:
        second = [(self.one2one_cv2, self.one2one_cv3)] if self.answers else []
        return [(self.cv2, self.cv3), *second]


def initialise(module: nn.Module, classes: int, strides: Sequence[int]) -> None:
    """Honest priors: 5 objects in an image of 640 px, classes equally likely."""
    with torch.no_grad():
        for boxes, scores in cast(AnchorFreeNetwork, module)._branches():
            for box, score, stride in zip(boxes, scores, strides, strict=True):
                _bias(box).fill_(BOX_BIAS)
                _bias(score).fill_(math.log(5 / classes / (640 / stride) ** 2))


def decode(
    outputs: Sequence[Tensor], classes: int, imgsz: int, strides: Sequence[int], bins: int
) -> tuple[Tensor, Tensor]:
    """See `Head.decode`."""
    boxes, scores = [], []
    for output, stride in zip(outputs, strides, strict=True):
        side = imgsz // stride  # known numbers become constants of the graph
        row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        centre = torch.stack([column, row], 2).float().view(1, -1, 2) + 0.5
        flat = output.reshape(-1, 4 * bins + classes, side * side).transpose(1, 2)
        sides = flat[..., : 4 * bins]
        if bins > 1:
            weights = sides.reshape(-1, side * side, 4, bins).softmax(3)
            sides = (weights * torch.arange(bins, dtype=torch.float32)).sum(3)
        boxes.append(torch.cat([centre - sides[..., :2], centre + sides[..., 2:]], 2) * stride)
        scores.append(flat[..., 4 * bins :].sigmoid())
    return torch.cat(boxes, 1), torch.cat(scores, 1)


def _full(c_in: int, c: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(Conv(c_in, c, 3), Conv(c, c, 3), nn.Conv2d(c, c_out, 1))


def _light(c_in: int, c: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(Conv(c_in, c_in, 3, groups=c_in), Conv(c_in, c, 1)),
        nn.Sequential(Conv(c, c, 3, groups=c), Conv(c, c, 1)),
        nn.Conv2d(c, c_out, 1),
    )


def _joined(box: nn.Module, score: nn.Module, x: Tensor) -> Tensor:
    return torch.cat((box(x), score(x)), 1)


def _bias(tower: nn.Module) -> Tensor:
    bias = cast(nn.Conv2d, cast(nn.Sequential, tower)[2]).bias
    assert bias is not None
    return bias
