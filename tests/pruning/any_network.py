"""Small networks of every kind that is not a detector, and how to fill any network with weights that matter."""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from tests.pruning.networks import Cbl
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def fill(model: M, seed: int = 0) -> M:
    """Random weights that keep signals alive, scales and shifts and statistics that are not one and zero."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3 if parameter.dim() < 2 else (2 / parameter[0].numel()) ** 0.5, generator=rng)
        for module in model.modules():
            if isinstance(module, NORMS) and module.weight is not None:
                module.weight.uniform_(0.1, 1.5, generator=rng)
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                module.running_mean.normal_(0, 0.3, generator=rng)
                module.running_var.uniform_(0.5, 1.5, generator=rng)
    return model.eval()


class Grey(nn.Module):
    """One input channel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = Cbl(1, 16), Cbl(16, 24), Cbl(24, 16), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.c(self.b(self.a(x))))


class TwoInputs(nn.Module):
    """A picture and a row of numbers, which set the scale of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.scale, self.head = Cbl(2, 16), nn.Linear(5, 16), nn.Linear(16, 3)

    def forward(self, picture: Tensor, numbers: Tensor) -> Tensor:
        x = self.stem(picture) * torch.sigmoid(self.scale(numbers))[:, :, None, None]
        return self.head(x.mean((2, 3)))


class Dense(nn.Module):
    """Each layer reads all before it, as in DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 16, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(16 + 12 * i), nn.ReLU(), nn.Conv2d(16 + 12 * i, 12, 3, padding=1))
            for i in range(3)
        )
        self.head = nn.Linear(52, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return self.head(x.mean((2, 3)))


class UNet(nn.Module):
    """Down, up by a transposed convolution and a depthwise one, and the skip beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Cbl(1, 16), Cbl(16, 24, stride=2)
        self.up, self.smooth = nn.ConvTranspose2d(24, 16, 2, 2), nn.ConvTranspose2d(16, 16, 3, 1, 1, groups=16)
        self.c, self.head = Cbl(32, 16), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.head(self.c(torch.cat((x, F.relu(self.smooth(self.up(self.b(x))))), 1)))


class Grouped(nn.Module):
    """GroupNorm behind each convolution, and one of a single group."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.g = nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(4, 32)
        self.b, self.one = nn.Conv2d(32, 24, 3, padding=1), nn.GroupNorm(1, 24)
        self.c, self.each, self.head = nn.Conv2d(24, 16, 1), nn.GroupNorm(16, 16), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.one(self.b(F.relu(self.g(self.a(x))))))
        return self.head(F.silu(self.each(self.c(x))))


class Block(nn.Module):
    """A transformer block with its own attention, before it an embedding of places."""

    def __init__(self, by_width: bool) -> None:
        super().__init__()
        self.by_width, self.heads, self.width = by_width, 4, 8
        self.embed, self.places = nn.Linear(6, 32), nn.Parameter(torch.zeros(1, 10, 32))
        self.before, self.after = nn.LayerNorm(32), nn.LayerNorm(32)
        self.q, self.k, self.v, self.out = (nn.Linear(32, 32) for _ in range(4))
        self.wide, self.narrow, self.head = nn.Linear(32, 64), nn.Linear(64, 32), nn.Linear(32, 3)

    def split(self, x: Tensor) -> Tensor:
        """Heads by their width, so that some of them may go; or by their number, so that they may get narrower."""
        shape = (*x.shape[:2], -1, self.width) if self.by_width else (*x.shape[:2], self.heads, -1)
        return x.view(shape).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.places
        y = self.before(x)
        weights = torch.softmax(self.split(self.q(y)) @ self.split(self.k(y)).transpose(-2, -1) * 0.35, -1)
        x = x + self.out((weights @ self.split(self.v(y))).transpose(1, 2).flatten(2))
        x = x + self.narrow(F.gelu(self.wide(self.after(x))))
        return self.head(x[:, 0])


def tabular() -> nn.Module:
    """BatchNorm1d behind linear layers."""
    return nn.Sequential(
        nn.Linear(7, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 24),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.Linear(24, 2),
    )


def sound() -> nn.Module:
    """One-dimensional, with a depthwise layer and one of InstanceNorm."""
    return nn.Sequential(
        nn.Conv1d(2, 16, 5), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 16, 3, groups=16), nn.InstanceNorm1d(16),
        nn.Conv1d(16, 24, 3), nn.GELU(), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(48, 3),
    )  # fmt: skip


def volume() -> nn.Module:
    """Three-dimensional, up again at the end."""
    return nn.Sequential(
        nn.Conv3d(1, 16, 3, 2, 1), nn.BatchNorm3d(16), nn.ReLU(), nn.Conv3d(16, 16, 3, 1, 1), nn.BatchNorm3d(16),
        nn.ReLU(), nn.ConvTranspose3d(16, 8, 2, 2), nn.ReLU(), nn.Conv3d(8, 2, 1),
    )  # fmt: skip


class SharedKeys(nn.Module):
    """Attention whose heads share keys and values in pairs, a scale that is one number, whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(6, 32), nn.Linear(6, 16), nn.Linear(6, 16), nn.Linear(32, 6)
        self.up, self.head, self.scale = nn.Linear(6, 96), nn.Linear(96, 3), nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).view(*x.shape[:2], -1, 8).transpose(1, 2) for layer in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2)
        hidden = F.relu(self.up(x + self.o(attended) * self.scale.exp()))
        return self.head(hidden + (hidden > 1).int())


OURS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "one channel": (Grey, (torch.rand(1, 1, 16, 24),)),
    "two inputs": (TwoInputs, (torch.rand(2, 2, 16, 16), torch.rand(2, 5))),
    "dense": (Dense, (torch.rand(1, 4, 16, 16),)),
    "unet": (UNet, (torch.rand(1, 1, 16, 16),)),
    "groupnorm": (Grouped, (torch.rand(1, 3, 16, 16),)),
    "whole heads": (lambda: Block(True), (torch.rand(1, 10, 6),)),
    "narrower heads": (lambda: Block(False), (torch.rand(1, 10, 6),)),
    "shared keys": (SharedKeys, (torch.rand(1, 10, 6),)),
    "linear and BatchNorm1d": (tabular, (torch.rand(4, 7),)),
    "1-D": (sound, (torch.rand(1, 2, 64),)),
    "3-D": (volume, (torch.rand(1, 1, 8, 8, 8),)),
}
