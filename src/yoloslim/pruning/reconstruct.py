"""Weights after a cut, moved so that every layer gives what it gave before: least squares on a few images.

A convolution that reads fewer channels than it did gives something else. On a few images its weights are fitted to what
the dense network's layer gave, at random places, layer by layer in the order of computation: each reads what the
layers before it give after their own fit (the idea of arXiv 1707.06168, for all layers in one pass). No labels, no
gradients. A small pull towards the weights as they were keeps the fit from following the noise of few images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from yoloslim.pruning.coupling import BoolArray, Coupling
from yoloslim.pruning.folding import absorb
from yoloslim.torch_threads import torch_threads

PLACES = 20_000
"""Random places of all images at which a layer is fitted; an output of YOLOv5s has at most 2,304 weights."""
PULL = 0.01
"""Towards the weights as they were, relative to the mean square of what the layer reads."""


@dataclass(frozen=True)
class Misfit:
    """How far a layer's output is from the dense network's: squared difference over its variance, before and after."""

    before: float
    after: float


@dataclass(frozen=True)
class _Target:
    places: Tensor
    """(P,) which of all output positions of all images, row by row."""
    outputs: Tensor
    """(P, C_out kept) what the dense layer gives there."""


@torch_threads(1)
@torch.no_grad()
def reconstruct(
    dense: nn.Module, small: nn.Module, coupling: Coupling, keep: BoolArray, images: Tensor, seed: int = 0
) -> dict[str, Misfit]:
    """Fit the ordinary convolutions of a cut network to what they gave in the dense one; `small` is changed in place.

    Grouped and transposed convolutions stay as they are, and so do those whose mean nothing behind them can take up.
    One thread computes, since more would change the last digits of the weights.

    Args:
        dense: the network that was traced.
        small: what `cut` made of it by this coupling and this mask, nothing folded: the fit takes up the constants too.
        coupling, keep: see `cut`.
        images: (N, 3, H, W) as the network takes them; all of them at once are sent through it.
        seed: of the places.

    Returns:
        Path of each layer that was fitted -> how far it was off.
    """
    paths = [path for path in coupling.layers if _can_be_fitted(small, coupling, path)]
    modes = [(module, module.training) for network in (dense, small) for module in network.modules()]
    dense.eval()
    small.eval()
    found: dict[str, Misfit] = {}
    try:
        targets = _targets(dense, coupling, keep, paths, images, torch.Generator().manual_seed(seed))
        handles = [
            small.get_submodule(path).register_forward_pre_hook(_fitting(small, coupling, path, targets[path], found))
            for path in paths
        ]
        _run(small, images, handles)
    finally:
        for module, mode in modes:
            module.training = mode
    return found


def _can_be_fitted(small: nn.Module, coupling: Coupling, path: str) -> bool:
    try:
        module = small.get_submodule(path)
    except AttributeError:  # of a residual unit that was removed
        return False
    if (
        not isinstance(module, nn.Conv2d)
        or module.groups > 1
        or isinstance(module.padding, str)
        or module.padding_mode != "zeros"
    ):
        return False
    return path in coupling.folds_into or module.bias is not None


def _targets(
    dense: nn.Module, coupling: Coupling, keep: BoolArray, paths: list[str], images: Tensor, rng: torch.Generator
) -> dict[str, _Target]:
    """What the dense network's layers give at random places."""
    targets: dict[str, _Target] = {}

    def note(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        kept = torch.from_numpy(np.flatnonzero(keep[coupling.layers[path].outputs]))

        def hook(_module: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> None:
            count, _, height, width = output.shape
            total = count * height * width
            places = torch.randint(total, (min(PLACES, total),), generator=rng)
            image, row, column = _where(places, height, width)
            targets[path] = _Target(places, output[image, :, row, column][:, kept])

        return hook

    _run(dense, images, [dense.get_submodule(path).register_forward_hook(note(path)) for path in paths])
    return targets


def _fitting(
    small: nn.Module, coupling: Coupling, path: str, target: _Target, found: dict[str, Misfit]
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that fits a layer as soon as it is called, when all before it have been."""

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        if path in found:  # a layer that is called again keeps the fit of its first call
            return
        read, wanted = _patches(module, args[0], target.places), target.outputs
        weight = module.weight.flatten(1)
        mean_read, mean_wanted = read.mean(0), wanted.mean(0)
        read, wanted = read - mean_read, wanted - mean_wanted
        missing = wanted - read @ weight.T
        gram = (read.T @ read).double()
        pull = PULL * gram.diagonal().mean().clamp_min(1e-12) * torch.eye(len(gram), dtype=gram.dtype)
        change = torch.linalg.solve(gram + pull, (read.T @ missing).double()).to(weight).T
        spread = float(wanted.square().sum().clamp_min(1e-12))
        before, after = (float(m.square().sum()) / spread for m in (missing, missing - read @ change.T))
        found[path] = Misfit(before, after)
        module.weight.add_(change.view_as(module.weight))
        gives = module.weight.flatten(1) @ mean_read + (0 if module.bias is None else module.bias)
        absorb(small, coupling, path, mean_wanted - gives)

    return hook


def _patches(module: nn.Conv2d, x: Tensor, places: Tensor) -> Tensor:
    """(P, C_in * kernel) what a convolution reads at some of its output positions."""
    (above, left), (down, right), (rows, columns) = (
        map(int, v) for v in (module.padding, module.stride, module.kernel_size)
    )
    padded = F.pad(x, (left, left, above, above))
    reach = [1 + d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    height, width = ((n - r) // s + 1 for n, r, s in zip(padded.shape[2:], reach, module.stride, strict=True))
    image, row, column = _where(places, height, width)
    taps = [
        padded[image, :, row * down + r * module.dilation[0], column * right + c * module.dilation[1]]
        for r in range(rows)
        for c in range(columns)
    ]
    return torch.stack(taps, 2).flatten(1)


def _where(places: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, row and column of output positions."""
    return places // (height * width), places // width % height, places % width


def _run(network: nn.Module, images: Tensor, handles: list[RemovableHandle]) -> None:
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
