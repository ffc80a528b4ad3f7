"""The network of the anchor heads, and their decoding in PyTorch."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from yoloslim.heads.anchor import AnchorHead
from yoloslim.runner.heads.anchor import box_corners


class Detect(nn.Module):
    """One 1x1 convolution a level; gives raw logits, and leaves decoding to the caller."""

    def __init__(self, channels: Sequence[int], anchors_per_level: int, nc: int) -> None:
        super().__init__()
        self.anchors_per_level = anchors_per_level
        self.outputs = nc + 5
        self.m = nn.ModuleList(nn.Conv2d(c, anchors_per_level * self.outputs, 1) for c in channels)

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        """Map features (B, C, h, w) of each level to logits (B, anchors, h, w, 5 + nc)."""
        heads = []
        for i, conv in enumerate(self.m):
            y = conv(xs[i])
            split = y.view(y.shape[0], self.anchors_per_level, self.outputs, y.shape[2], y.shape[3])
            heads.append(split.permute(0, 1, 3, 4, 2))
        return heads


def initialise(module: nn.Module, head: AnchorHead, classes: int) -> None:
    """Start from honest priors: 8 objects a 640-pixel image, classes equally likely (arXiv 1708.02002)."""
    for conv, stride in zip(cast(Detect, module).m, head.strides, strict=True):
        bias = cast(nn.Conv2d, conv).bias
        assert bias is not None
        with torch.no_grad():
            b = bias.view(len(head.anchors[0]), -1)
            b[:, 4] += math.log(8 / (640 / stride) ** 2)
            b[:, 5:] += math.log(0.6 / (classes - 0.99999))


def decode(head: AnchorHead, outputs: Sequence[Tensor], classes: int, imgsz: int) -> tuple[Tensor, Tensor]:
    """See `Head.decode`: the formulas of `BoxDecoding`, for every cell."""
    boxes, scores = [], []
    for output, sizes, stride, scale in zip(outputs, head.anchors, head.strides, head.scales, strict=True):
        height, width = imgsz // stride, imgsz // stride  # known numbers become constants of the graph
        row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        cell = torch.stack([column, row], dim=2).float()
        anchors = torch.tensor(sizes).view(-1, 1, 1, 2)
        values = output.sigmoid()
        sides = box_corners(output[..., :4], values[..., :4], cell, anchors, stride, head.decoding.kind, scale)
        corners = torch.cat(sides, dim=4)
        count = len(sizes) * height * width
        boxes.append(corners.reshape(len(output), count, 4))
        scores.append((values[..., 4:5] * values[..., 5:]).reshape(len(output), count, classes))
    return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)
