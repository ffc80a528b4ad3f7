"""Every way of cutting up the channel axis: what stays prunable, and that the cut network still computes the same."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.pruning.networks import Cbl, randomise
from torch import Tensor, nn

from yoloslim.pruning.certificate import certify
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.minimums import raise_to_minimum

Join = Callable[[Tensor, Tensor], Tensor]


class Joined(nn.Module):
    """Two convolutions of 8 channels, joined somehow, then one more."""

    def __init__(self, join: Join, width: int) -> None:
        super().__init__()
        self.a, self.b, self.join = Cbl(3, 8), Cbl(3, 8), join
        self.c, self.head = Cbl(width, 8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.c(self.join(self.a(x), self.b(x))))


CASES: dict[str, tuple[Join, int, int, int]] = {  # how, width after, groups of a and of b that may go
    "sum of strided slices": (lambda a, b: a[:, ::2] + b[:, 1::2], 4, 4, 4),
    "stack and merge": (lambda a, b: torch.stack((a, b), 2).flatten(1, 2), 16, 8, 8),
    "mean of a stack": (lambda a, b: torch.stack((a, b), 1).mean(1), 8, 8, 8),
    "computed half": (lambda a, b: a[:, : a.shape[1] // 2] + b[:, :4], 4, 0, 0),
    "uneven split": (lambda a, b: torch.cat((a.split([2, 6], 1)[1], b), 1), 14, 0, 8),
    "uneven chunk": (lambda a, b: torch.cat((torch.cat(a.chunk(3, 1), 1), b), 1), 16, 0, 8),
    "negative axes": (lambda a, b: a.chunk(2, -3)[1] + b.chunk(2, 1)[0], 4, 4, 4),
    "one channel for all": (lambda a, b: a.unbind(1)[0].unsqueeze(1) + b, 8, 0, 0),
    "spatial attention": (lambda a, b: a * torch.sigmoid(b.mean(1, keepdim=True)), 8, 8, 0),
    "softmax": (lambda a, b: F.softmax(a, 1) * b, 8, 0, 0),
    "twice in one sum": (lambda a, b: torch.cat((a, a), 1) + torch.cat((b, a), 1), 16, 8, 8),
    "space to depth": (
        lambda a, b: F.max_pool2d(a, 1).view(2, -1, 8, 2, 8, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, -1, 8, 8),
        32,
        8,
        8,
    ),
    "reversed": (lambda a, b: a.flip(1) + b, 8, 8, 8),
    "by keyword": (lambda a, b: torch.add(input=a, other=b), 8, 8, 8),
    "maximum": (lambda a, b: torch.maximum(a, b), 8, 8, 8),
    "zero padding": (lambda a, b: F.pad(a * b, (1, 1, 1, 1)), 8, 8, 8),
    "two factors": (lambda a, b: a.view(a.size(0), 4, -1, 16, 16).transpose(2, 1).reshape(b.shape) + b, 8, 2, 2),
    "batch mixed in": (lambda a, b: a.reshape(a.shape[0] * 4, 2, -1).view(b.shape) + b, 8, 0, 0),
    "squeeze of what may be one": (lambda a, b: a.mean((2, 3), keepdim=True).squeeze()[:, :, None, None] + b, 8, 0, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_what_may_go_goes_exactly(name: str) -> None:
    join, width, free_a, free_b = CASES[name]
    model = randomise(Joined(join, width))
    coupling = find_coupling(model, (2, 3, 16, 16))
    for layer, expected in (("a.conv", free_a), ("b.conv", free_b)):
        groups = coupling.layers[layer].outputs
        assert len(np.unique(groups[~coupling.protected[groups]])) == expected
    for seed in range(6):
        rng = np.random.default_rng(seed)
        keep = coupling.protected | (rng.random(coupling.groups) > rng.random())
        keep, _ = raise_to_minimum(coupling, keep, rng.random(coupling.groups).astype(np.float32), 1, 0)
        certificate = certify(model, coupling, keep, tolerance=1e-9)
        assert max(certificate.folded) < 1e-9 or certificate.inexact


class Dealt(nn.Module):
    """Two halves, shuffled with sizes that are read off the tensor, as ShuffleNet writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.last = (nn.Conv2d(*sizes, 1) for sizes in ((3, 4), (3, 4), (8, 2)))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat((self.left(x), self.right(x)), 1)
        b, c, h, w = y.shape
        return self.last(y.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w))  # type: ignore[no-any-return]


def test_a_shuffle_ties_pairs_and_no_more() -> None:
    layers = find_coupling(Dealt()).layers
    left, right = layers["left"].outputs.tolist(), layers["right"].outputs.tolist()
    assert left == right
    assert len(set(left)) == 4
    assert layers["last"].inputs.tolist() == [group for pair in zip(left, right, strict=True) for group in pair]
