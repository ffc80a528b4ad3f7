"""Small networks that hold every structure channel coupling must understand, with random weights and statistics."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloslim.conv import Conv
from yoloslim.models.blocks import Bottleneck
from yoloslim.models.split_blocks import C2PSA, C2f, C3k, attention_unit


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Scramble a network and take it to float64 and eval mode."""
    scramble(model, seed)
    return model.double().eval()


def scramble(model: nn.Module, seed: int = 0) -> None:
    """Random BatchNorm scales, shifts and statistics, and weights that keep signals alive."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.05, 1.5, generator=rng)
                module.bias.normal_(0, 0.5, generator=rng)
                module.running_mean.normal_(0, 0.3, generator=rng)
                module.running_var.uniform_(0.5, 1.5, generator=rng)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=rng)
                if module.bias is not None:
                    module.bias.normal_(0, 0.3, generator=rng)
            elif isinstance(module, nn.PReLU):
                module.weight.uniform_(0.1, 0.9, generator=rng)


class Cbl(nn.Module):
    """Convolution, BatchNorm, activation."""

    def __init__(
        self, c_in: int, c_out: int, k: int = 3, groups: int = 1, stride: int = 1, act: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(c_out)
        self.act = act or nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Residual(nn.Module):
    """Two chained residual units; the stem is tied to both, the inner channels to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Cbl(3, 8)
        self.a = nn.Sequential(Cbl(8, 6, 1), Cbl(6, 8))
        self.b = nn.Sequential(Cbl(8, 5, 1), Cbl(5, 8))
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.a(x)
        y = self.b(x)
        y += x
        return self.head(y)


class SumOfConcat(nn.Module):
    """A concatenation in the other order than its parts were made, added to a third tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = Cbl(3, 4), Cbl(3, 6), Cbl(3, 10)
        self.head = nn.Conv2d(20, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat((self.b(x), self.a(x)), 1)
        return self.head(torch.cat([y + self.c(x), y], dim=1))


class ChunkAndSplit(nn.Module):
    """Halves by `chunk` and by a computed `split`, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = Cbl(3, 12), Cbl(6, 6)
        self.head = nn.Conv2d(24, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a, b = x.chunk(2, 1)
        c, d = torch.split(x, x.shape[1] // 2, dim=1)
        return self.head(torch.cat((a, self.inner(b), c, d), 1))


class Shuffle(nn.Module):
    """A ShuffleNet unit: depthwise convolutions, concatenation, channel shuffle written out, chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Cbl(3, 8, stride=2)
        self.left = nn.Sequential(Cbl(8, 8, groups=8), Cbl(8, 6, 1))
        self.right = nn.Sequential(Cbl(8, 6, 1), Cbl(6, 6, 5, groups=6), Cbl(6, 6, 1))
        self.unit = nn.Sequential(Cbl(6, 6, 1), Cbl(6, 6, groups=6))
        self.head = nn.Conv2d(12, 4, 1)

    @staticmethod
    def shuffle(x: Tensor, groups: int) -> Tensor:
        b, c, h, w = x.shape
        return x.view(b, groups, c // groups, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.shuffle(torch.cat((self.left(x), self.right(x)), 1), 2)
        a, b = x.chunk(2, dim=1)
        return self.head(self.shuffle(torch.cat((a, self.unit(b)), 1), 2))


class Grouped(nn.Module):
    """Grouped convolutions around a shuffle by module, and a depthwise one that multiplies channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Cbl(3, 12)
        self.grouped = Cbl(12, 8, groups=4)
        self.shuffle = nn.ChannelShuffle(4)
        self.mixed = Cbl(8, 6, groups=2)
        self.wide = Cbl(6, 12, groups=6)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.wide(self.mixed(self.shuffle(self.grouped(self.stem(x))))))


class Shared(nn.Module):
    """One block called three times in a row, and one head on two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.q = Cbl(3, 7), Cbl(3, 7, stride=2)
        self.block, self.tower = Cbl(7, 7), Cbl(7, 5)
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        p = self.block(self.block(self.block(self.p(x))))
        return [self.head(self.tower(p)), self.head(self.tower(self.q(x)))]


class FocusSpp(nn.Module):
    """Focus slicing, stacked and parallel max-pools, upsampling of two kinds, average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.focus, self.reduce = Cbl(12, 8), Cbl(8, 6, 1)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (3, 5))
        self.spp, self.down = Cbl(24, 8, 1), Cbl(8, 9, stride=2)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.out = Cbl(26, 6, 1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1)
        x = self.reduce(self.focus(x))
        y = self.spp(torch.cat([x] + [pool(x) for pool in self.pools] + [F.max_pool2d(x, 3, 1, 1)], 1))
        z = self.down(y)
        zs = [self.up(z), F.interpolate(z, scale_factor=2.0, mode="bilinear", align_corners=False)]
        return self.head(self.out(torch.cat((zs[1], y, zs[0]), 1)))


class SqueezeExcite(nn.Module):
    """Channel attention: global mean, two convolutions with bias, a gate on the block's own output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Cbl(3, 8)
        self.less, self.more = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.head = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = torch.sigmoid(self.more(F.relu(self.less(x.mean((2, 3), keepdim=True)))))
        return self.head(x * gate)


class LateNorm(nn.Module):
    """A BatchNorm over a concatenation (the CSP block of early versions), then PReLU and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Cbl(3, 6)
        self.a, self.b = nn.Conv2d(6, 5, 1, bias=False), nn.Conv2d(6, 4, 1, bias=False)
        self.bn, self.act = nn.BatchNorm2d(9), nn.PReLU(9)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.hidden, self.head = nn.Linear(36, 10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.pool(self.act(self.bn(torch.cat((self.a(x), self.b(x)), 1))))
        return self.head(torch.relu(self.hidden(x.flatten(1))))


class SplitBlocks(nn.Module):
    """The blocks of YOLOv8, 11 and 26: parts of sizes of their own, nested units, attention, depthwise towers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 8, 3, 2)
        self.plain = C2f(8, 12, 2, lambda c: Bottleneck(c, True, c // 2, kernel=3))
        self.nested = C2f(12, 16, 2, C3k, 0.25)
        self.attention = C2PSA(16, 1)
        self.last = C2f(16, 16, 1, attention_unit)
        self.tower = nn.Sequential(Conv(16, 16, 3, groups=16), Conv(16, 6), nn.Conv2d(6, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.tower(self.last(self.attention(self.nested(self.plain(self.stem(x))))))


class HardCoded(nn.Module):
    """Channel counts written into the code, which a cut must respect; and a raw parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fixed, self.scaled, self.free = Cbl(3, 8), Cbl(3, 8), Cbl(3, 6), Cbl(3, 8)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 6).view(1, 6, 1, 1))
        self.head = nn.Conv2d(3 + 8 + 6 + 8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.stem(x)[:, :3]
        b = self.fixed(x).view(x.shape[0], 2, 4, x.shape[2], x.shape[3]).flatten(1, 2)
        return self.head(torch.cat((a, b, self.scaled(x) * self.scale, self.free(x)), 1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    cls.__name__: cls
    for cls in (
        Residual,
        SumOfConcat,
        ChunkAndSplit,
        Shuffle,
        Grouped,
        Shared,
        FocusSpp,
        SqueezeExcite,
        LateNorm,
        SplitBlocks,
        HardCoded,
    )
}
