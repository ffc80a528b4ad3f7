"""The blocks that architectures are made of; attribute names are those of the public checkpoints."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BN_EPS, BN_MOMENTUM = 1e-3, 0.03


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, SiLU."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c_out, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        return self.act(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolution, added to the input when `shortcut`."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 1)
        self.cv2 = Conv(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y  # type: ignore[no-any-return]


class C3(nn.Module):
    """Cross-stage partial block: half the channels pass the bottlenecks, half go round them."""

    def __init__(self, c_in: int, c_out: int, repeats: int, shortcut: bool = True) -> None:
        super().__init__()
        hidden = c_out // 2
        self.cv1 = Conv(c_in, hidden, 1)
        self.cv2 = Conv(c_in, hidden, 1)
        self.cv3 = Conv(2 * hidden, c_out, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H, W)."""
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))  # type: ignore[no-any-return]


class SPPF(nn.Module):
    """Spatial pyramid pooling by three stacked max-pools; equals parallel pools of 5, 9 and 13."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 5) -> None:
        super().__init__()
        hidden = c_in // 2
        self.cv1 = Conv(c_in, hidden, 1)
        self.cv2 = Conv(hidden * 4, c_out, 1)
        self.m = nn.MaxPool2d(kernel, stride=1, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H, W)."""
        x = self.cv1(x)
        y1 = self.m(x)
        y2 = self.m(y1)
        return self.cv2(torch.cat((x, y1, y2, self.m(y2)), 1))  # type: ignore[no-any-return]


class Concat(nn.Module):
    """Concatenate along channels."""

    def forward(self, xs: Sequence[Tensor]) -> Tensor:
        """Map tensors (B, c_i, H, W) to (B, sum of c_i, H, W)."""
        return torch.cat(list(xs), 1)


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
