"""Blocks of YOLOv8, YOLO11 and YOLO26, which cut their channels in two; attribute names are those of checkpoints."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from yoloslim.conv import Conv
from yoloslim.models.blocks import Bottleneck

Unit = Callable[[int], nn.Module]
"""Makes a unit of so many channels, in and out."""

HEAD_WIDTH = 64
"""Channels of one attention head when a network is built; keys are half as wide."""


class Part(nn.Module):
    """So many channels of a Split; it computes nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def extra_repr(self) -> str:
        """The number, for people."""
        return str(self.channels)


class Split(nn.ModuleList):
    """Consecutive parts of the channels, of stored sizes: pruning may shrink each part on its own."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(Part(size) for size in sizes)

    @property
    def sizes(self) -> list[int]:
        """Channels of each part."""
        return [cast(Part, part).channels for part in self]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (B, sum of sizes, H, W) to one tensor (B, size, H, W) a part."""
        return torch.split_with_sizes(x, self.sizes, 1)


class C2f(nn.Module):
    """Cross-stage partial block: of two parts one passes a chain of units, and everything that arises is joined.

    C3k2 is the same block with other units.
    """

    def __init__(self, c_in: int, c_out: int, repeats: int, unit: Unit, share: float = 0.5) -> None:
        """Make the units.

        Args:
            c_in: channels read.
            c_out: channels given.
            repeats: units in the chain.
            unit: makes one.
            share: channels of a unit, of `c_out`.
        """
        super().__init__()
        hidden = int(c_out * share)
        self.cv1 = Conv(c_in, 2 * hidden, 1)
        self.split = Split(hidden, hidden)
        self.cv2 = Conv((2 + repeats) * hidden, c_out, 1)
        self.m = nn.ModuleList(unit(hidden) for _ in range(repeats))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H, W)."""
        a, b = self.split(self.cv1(x))
        parts = [a, b]
        for unit in self.m:
            parts.append(unit(parts[-1]))
        return self.cv2(torch.cat(parts, 1))  # type: ignore[no-any-return]


class C3k(nn.Module):
    """Cross-stage partial block as a unit of C3k2: two residual units of 3x3 convolutions in one half."""

    def __init__(self, channels: int, shortcut: bool = True) -> None:
        super().__init__()
        hidden = channels // 2
        self.cv1 = Conv(channels, hidden, 1)
        self.cv2 = Conv(channels, hidden, 1)
        self.cv3 = Conv(2 * hidden, channels, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut, kernel=3) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))  # type: ignore[no-any-return]


class AttentionCore(nn.Module):
    """Scaled dot-product attention over positions (arXiv 1706.03762), without weights.

    Its input holds, head by head, queries and keys of half the head's width, and values of its width.
    """

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads, self.key, self.width = heads, width // 2, width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, heads (2 key + width), H, W) to what is attended to and to the values, (B, heads width, H, W)."""
        b, _, h, w = x.shape
        sizes = [self.key, self.key, self.width]
        q, k, v = torch.split_with_sizes(x.reshape(b, self.heads, sum(sizes), h * w), sizes, 2)
        weights = ((q * self.key**-0.5).transpose(-2, -1) @ k).softmax(-1)
        attended = v @ weights.transpose(-2, -1)
        channels = self.heads * self.width  # known sizes all: exported graphs may leave the batch open
        return attended.reshape(b, channels, h, w), v.reshape(b, channels, h, w)

    def values(self, x: Tensor) -> Tensor:
        """The values in an input, (B, heads width, H, W)."""
        b, _, h, w = x.shape
        return x.reshape(b, self.heads, -1, h, w)[:, :, 2 * self.key :].reshape(b, -1, h, w)


class Attention(nn.Module):
    """Self-attention over positions; a depthwise convolution of the values tells where they are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        heads = max(channels // HEAD_WIDTH, 1)
        width = channels // heads
        self.qkv = Conv(channels, channels + 2 * (width // 2) * heads, 1, activation="linear")
        self.core = AttentionCore(heads, width)
        self.proj = Conv(channels, channels, 1, activation="linear")
        self.pe = Conv(channels, channels, 3, activation="linear", groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        attended, values = self.core(self.qkv(x))
        return self.proj(attended + self.pe(values))  # type: ignore[no-any-return]


class PSABlock(nn.Module):
    """Attention and two 1x1 convolutions, each added to what it reads."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shortcut = True
        self.attn = Attention(channels)
        self.ffn = nn.Sequential(Conv(channels, 2 * channels, 1), Conv(2 * channels, channels, 1, activation="linear"))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        x = x + self.attn(x)
        return x + self.ffn(x)  # type: ignore[no-any-return]


class C2PSA(nn.Module):
    """Of two halves one passes attention blocks."""

    def __init__(self, channels: int, repeats: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.cv1 = Conv(channels, 2 * hidden, 1)
        self.split = Split(hidden, hidden)
        self.cv2 = Conv(2 * hidden, channels, 1)
        self.m = nn.Sequential(*(PSABlock(hidden) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        a, b = self.split(self.cv1(x))
        return self.cv2(torch.cat((a, self.m(b)), 1))  # type: ignore[no-any-return]


def attention_unit(channels: int) -> nn.Module:
    """A residual unit, then an attention block."""
    return nn.Sequential(Bottleneck(channels, hidden=channels // 2, kernel=3), PSABlock(channels))
