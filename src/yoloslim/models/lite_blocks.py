"""Blocks of YOLOv5-Lite (e, s: ShuffleNetV2, arXiv 1807.11164; c: PP-LCNet, 2109.15099; g: RepVGG, 2101.03697).

Attribute names are those of its public checkpoints.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _norm_conv(c_in: int, c_out: int, kernel: int, stride: int = 1, depthwise: bool = False) -> list[nn.Module]:
    groups = c_in if depthwise else 1
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(c_out)]


class PooledStem(nn.Module):
    """3x3 convolution and max-pooling, each at stride 2."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*_norm_conv(c_in, c_out, 3, 2), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/4, W/4)."""
        return self.maxpool(self.conv(x))  # type: ignore[no-any-return]


class ShuffleUnit(nn.Module):
    """ShuffleNetV2 unit: half the channels pass a depthwise branch, then the halves are shuffled.

    At stride 2 both branches read all channels.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        half = c_out // 2
        self.branch1 = (
            nn.Sequential(
                *_norm_conv(c_in, c_in, 3, stride, depthwise=True), *_norm_conv(c_in, half, 1), nn.ReLU(inplace=True)
            )
            if stride > 1
            else None
        )
        self.branch2 = nn.Sequential(
            *_norm_conv(c_in if stride > 1 else half, half, 1),
            nn.ReLU(inplace=True),
            *_norm_conv(half, half, 3, stride, depthwise=True),
            *_norm_conv(half, half, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride); at stride 1 c_in is c_out."""
        if self.branch1 is None:
            kept, worked = x.chunk(2, dim=1)
            y = torch.cat((kept, self.branch2(worked)), 1)
        else:
            y = torch.cat((self.branch1(x), self.branch2(x)), 1)
        b, c, h, w = y.shape
        return y.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class SeparableConv(nn.Module):
    """Depthwise and 1x1 convolution, each with batch normalisation and ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _norm_conv(c_in, c_in, kernel, stride, depthwise=True)
        self.conv2, self.bn2 = _norm_conv(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class SqueezeExcite(nn.Module):
    """Weigh channels by what their means say together. The gate is SiLU, as its authors have it, not a sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv1 = nn.Conv2d(channels, channels // 4, 1)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x * F.silu(self.conv2(F.relu(self.conv1(self.avg_pool(x)))))


class _NormConv(nn.Module):
    """Convolution, batch normalisation, hard swish."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, depthwise: bool = False) -> None:
        super().__init__()
        self.conv, self.bn = _norm_conv(c_in, c_out, kernel, stride, depthwise)
        self.hardswish = nn.Hardswish(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.hardswish(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class LCUnit(nn.Module):
    """PP-LCNet unit: depthwise convolution, channel attention if wanted, 1x1 convolution."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, attention: bool) -> None:
        super().__init__()
        self.dw_conv = _NormConv(c_in, c_in, kernel, stride, depthwise=True)
        self.se = SqueezeExcite(c_in) if attention else None
        self.pw_conv = _NormConv(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        x = self.dw_conv(x)
        if self.se is not None:
            x = self.se(x)
        return self.pw_conv(x)  # type: ignore[no-any-return]


class Dense(nn.Module):
    """1x1 convolution without batch normalisation, hard swish, dropout."""

    def __init__(self, c_in: int, c_out: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dense_conv = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.hardswish = nn.Hardswish(inplace=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H, W)."""
        return self.dropout(self.hardswish(self.dense_conv(x)))  # type: ignore[no-any-return]


class RepConv(nn.Module):
    """3x3 and 1x1 convolution side by side in training; `merge` makes them one."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.rbr_dense = nn.Sequential()
        self.rbr_1x1: nn.Module | None = nn.Sequential()
        for branch, kernel in ((self.rbr_dense, 3), (self.rbr_1x1, 1)):
            conv, bn = _norm_conv(c_in, c_out, kernel, stride)
            branch.add_module("conv", conv)
            branch.add_module("bn", bn)
        self.nonlinearity = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        y = self.rbr_dense(x)
        return self.nonlinearity(y if self.rbr_1x1 is None else y + self.rbr_1x1(x))  # type: ignore[no-any-return]

    def merge(self) -> None:
        """Put the 1x1 kernel into the middle of the 3x3 one; BatchNorms must have been folded before."""
        if self.rbr_1x1 is None:
            return
        dense, point = self.rbr_dense.get_submodule("conv"), self.rbr_1x1.get_submodule("conv")
        with torch.no_grad():
            dense.weight[:, :, 1:2, 1:2] += point.weight  # type: ignore[index,operator]
            dense.bias += point.bias  # type: ignore[operator]
        self.rbr_1x1 = None
