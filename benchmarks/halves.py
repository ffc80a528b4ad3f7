"""C2f with two convolutions in place of one whose channels are split, which is the form that Torch-Pruning can follow.

It loses track of a part of a split that is used twice; its own examples for YOLOv8 rewrite the block likewise.
"""

from typing import cast

import torch
from torch import Tensor, nn

from yoloslim.conv import Conv
from yoloslim.models.split_blocks import C2f, Split


class Halves(nn.ModuleList):
    """Convolutions of one input."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (B, C, H, W) to one tensor (B, size, H, W) a convolution."""
        return [conv(x) for conv in self]


def take_apart(block: C2f) -> None:
    """Split the weights of the first convolution instead of its channels, in place."""
    whole, sizes = block.cv1, block.split.sizes
    halves = [like(whole, whole.conv.in_channels, size) for size in sizes]
    for name, tensor in whole.state_dict().items():
        for half, rows in zip(halves, torch.split_with_sizes(torch.arange(sum(sizes)), sizes), strict=True):
            half.state_dict()[name].copy_(tensor[rows] if tensor.ndim else tensor)
    block.cv1, block.split = cast(Conv, Halves(halves)), cast(Split, nn.Identity())


def put_together(block: C2f) -> None:
    """Make one convolution of what `take_apart` made and pruning left, in place."""
    halves = cast(list[Conv], list(cast(Halves, block.cv1)))
    sizes = [half.conv.out_channels for half in halves]
    whole = like(halves[0], halves[0].conv.in_channels, sum(sizes))
    for name, tensor in whole.state_dict().items():
        parts = [half.state_dict()[name] for half in halves]
        tensor.copy_(torch.cat(parts) if tensor.ndim else parts[0])
    block.cv1, block.split = whole, Split(*sizes)


def like(conv: Conv, c_in: int, c_out: int) -> Conv:
    """A 1x1 convolution whose batch normalisation has another's settings."""
    found, bn = Conv(c_in, c_out).train(conv.training), cast(nn.BatchNorm2d, conv.bn)
    found.bn = nn.BatchNorm2d(c_out, bn.eps, bn.momentum).train(conv.training)
    return found
