"""Convolution, batch normalisation, activation: what every block and every head is made of."""

from collections.abc import Callable

from torch import Tensor, nn

from yoloslim.choices import Activation

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "silu": lambda: nn.SiLU(inplace=True),
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "mish": lambda: nn.Mish(inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "hardswish": lambda: nn.Hardswish(inplace=True),
    "sigmoid": nn.Sigmoid,
    "relu6": lambda: nn.ReLU6(inplace=True),
    "linear": nn.Identity,
}


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, activation; without `norm` the convolution has a bias instead."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int | None = None,
        activation: Activation = "silu",
        groups: int = 1,
        norm: bool = True,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=not norm)
        self.bn: nn.Module = nn.BatchNorm2d(c_out) if norm else nn.Identity()
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c_in, H, W) to (B, c_out, H/stride, W/stride)."""
        return self.act(self.bn(self.conv(x)))  # type: ignore[no-any-return]
