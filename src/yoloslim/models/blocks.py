"""Blocks that several families share; attribute names are those of the public YOLOv5 checkpoints."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloslim.choices import Activation
from yoloslim.conv import ACTIVATIONS, Conv


class Bottleneck(nn.Module):
    """Two convolutions, `kernel` (mostly 1x1) and 3x3, added to the input when `shortcut`: a residual unit."""

    def __init__(
        self,
        channels: int,
        shortcut: bool = True,
        hidden: int | None = None,
        activation: Activation = "silu",
        kernel: int = 1,
    ) -> None:
        super().__init__()
        hidden = hidden or channels
        self.cv1 = Conv(channels, hidden, kernel, activation=activation)
        self.cv2 = Conv(hidden, channels, 3, activation=activation)
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


class Focus(nn.Module):
    """Every second pixel in each direction becomes four times the channels, then a convolution."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1) -> None:
        super().__init__()
        self.conv = Conv(4 * c_in, c_out, kernel)
        self.merged = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W), H and W even, to (B, c_out, H/2, W/2)."""
        if self.merged:
            return self.conv(x)  # type: ignore[no-any-return]
        corners = x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]
        return self.conv(torch.cat(corners, 1))  # type: ignore[no-any-return]

    def merge(self) -> None:
        """Become one convolution of twice the kernel at stride 2, which every runtime knows and runs faster."""
        if self.merged:
            return
        old = self.conv.conv
        c_out, c_in, k, _ = old.weight.shape
        new = nn.Conv2d(c_in // 4, c_out, 2 * k, 2, 2 * (k // 2), bias=old.bias is not None)
        corners = old.weight.detach().view(c_out, 2, 2, c_in // 4, k, k)  # by column, row, as `forward` stacks them
        new.weight = nn.Parameter(corners.permute(0, 3, 4, 2, 5, 1).reshape(new.weight.shape))
        new.bias = old.bias
        self.conv.conv, self.merged = new, True


class SPP(nn.Module):
    """Spatial pyramid pooling: parallel max-pools of several sizes, side by side."""

    def __init__(self, c_in: int, c_out: int, kernels: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        hidden = c_in // 2
        self.cv1 = Conv(c_in, hidden, 1)
        self.cv2 = Conv(hidden * (len(kernels) + 1), c_out, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H, W)."""
        x = self.cv1(x)
        return self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))  # type: ignore[no-any-return]


class SPPF(nn.Module):
    """Spatial pyramid pooling by three stacked max-pools; equals parallel pools of 5, 9 and 13.

    `activation` is that of the first convolution alone; with `shortcut` the block adds its input.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 5, activation: Activation = "silu", shortcut: bool = False
    ) -> None:
        super().__init__()
        hidden = c_in // 2
        self.shortcut = shortcut
        self.cv1 = Conv(c_in, hidden, 1, activation=activation)
        self.cv2 = Conv(hidden * 4, c_out, 1)
        self.m = nn.MaxPool2d(kernel, stride=1, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H, W)."""
        y0 = self.cv1(x)
        y1 = self.m(y0)
        y2 = self.m(y1)
        y = self.cv2(torch.cat((y0, y1, y2, self.m(y2)), 1))
        return y + x if self.shortcut else y  # type: ignore[no-any-return]


class MaxPool(nn.Module):
    """Max-pooling that keeps ceil(size / stride) as Darknet does: an even window at stride 1 reaches right and down."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H/stride, W/stride)."""
        if self.kernel == self.stride:
            return F.max_pool2d(x, self.kernel)
        y = F.max_pool2d(x, self.kernel, self.stride, self.kernel // 2)
        # PyTorch pads both sides alike; the row and column too many are cut, which every runtime can do
        return y if self.kernel % 2 else y[:, :, 1:, 1:]


class Slice(nn.Module):
    """The last of equal parts of the channels: Darknet's grouped route."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C/groups, H, W)."""
        return x.chunk(self.groups, 1)[self.groups - 1]


class Concat(nn.Module):
    """Concatenate along channels."""

    def forward(self, xs: Sequence[Tensor]) -> Tensor:
        """Map tensors (B, c_i, H, W) to (B, sum of c_i, H, W)."""
        return torch.cat(list(xs), 1)


class Add(nn.Module):
    """Add two tensors of one shape."""

    def __init__(self, activation: Activation = "linear") -> None:
        super().__init__()
        self.act = ACTIVATIONS[activation]()

    def forward(self, xs: Sequence[Tensor]) -> Tensor:
        """Map two tensors (B, C, H, W) to their sum."""
        return self.act(xs[0] + xs[1])  # type: ignore[no-any-return]


class Mul(nn.Module):
    """Multiply two tensors, of which the first may have one value a channel: Darknet's `[sam]`, `[scale_channels]`."""

    def forward(self, xs: Sequence[Tensor]) -> Tensor:
        """Map (B, C, H, W) or (B, C, 1, 1), and (B, C, H, W), to their product."""
        return xs[1] * xs[0]


class GlobalPool(nn.Module):
    """The mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 1, 1)."""
        return F.adaptive_avg_pool2d(x, 1)


class Reorg(nn.Module):
    """Every second pixel in each direction becomes four times the channels: Darknet's `[reorg3d]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W), H and W even, to (B, 4 C, H/2, W/2)."""
        return torch.cat((x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]), 1)


class FlatReorg(nn.Module):
    """Darknet's `[reorg]`, as YOLOv2 has it: values are regrouped as if a quarter of the channels were larger images.

    Formula: `reorg_cpu` in Darknet's `blas.c`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W), C a multiple of 4, H and W even, to (B, 4 C, H/2, W/2)."""
        b, c, h, w = x.shape
        y = x.reshape(b, c // 4, h, 2, w, 2).permute(0, 3, 5, 1, 2, 4)
        return y.reshape(b, 4 * c, h // 2, w // 2)
