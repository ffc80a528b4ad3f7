"""The proof that comes with every pruned model: it computes what the masked model computes.

All is compared in float64, so that what shows is the surgery and not sums rounded in another order.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from yoloslim.errors import PruneError
from yoloslim.pruning.folding import fold_constants
from yoloslim.pruning.graph import tensors_in
from yoloslim.pruning.labels import BoolArray, ChannelLabels
from yoloslim.pruning.surgery import copy_model, cut, mask


@dataclass(frozen=True)
class Certificate:
    """Largest |difference| of raw outputs, one number a head.

    Attributes:
        cut: cut model against the masked one (scales and shifts of doomed channels zero).
        folded: cut and folded model against the one whose doomed channels are frozen at act(beta), with
            convolutions padding by repetition in both, since a constant ends where zero padding begins.
        inexact: where folding cannot be exact (see `fold_constants`); if anywhere, `folded` need not pass.
        border: `folded` again with the padding as it is: what folding cannot see at the borders. Not a fault.
        images: random images, then real ones, that were compared.
        tolerance: what `cut` and `folded` stayed under.
    """

    cut: list[float]
    folded: list[float]
    inexact: list[str]
    border: list[float]
    images: tuple[int, int]
    tolerance: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with the largest of each."""
        return asdict(self) | {"max_cut": max(self.cut), "max_folded": max(self.folded)}


def certify(
    model: nn.Module,
    labels: ChannelLabels,
    keep: BoolArray,
    images: Tensor | None = None,
    *,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Certificate:
    """Compare the cut model with the masked one, on random and on real images.

    Args:
        model: the network before the cut.
        labels: its channel labels.
        keep: (groups,) true for channel groups that stay.
        images: real images (N, 3, H, W) in [0, 1].
        tolerance: largest |difference| allowed.
        seed: of the random images.

    Raises:
        PruneError: a difference above the tolerance, naming the head: the surgery is wrong, do not use the model.
    """
    double = copy_model(model).double().cpu().eval()
    size = labels.example[1:] if images is None else images.shape[1:]
    batches = [torch.rand(2, *size, generator=torch.Generator().manual_seed(seed)).double()]
    if images is not None:
        batches.append(images.cpu().double())
    frozen, folded = mask(double, labels, keep, freeze=True), copy_model(double)
    inexact = fold_constants(folded, labels, keep)
    folded = cut(folded, labels, keep)
    border = _differences(frozen, folded, batches)
    _pad_by_repetition(frozen)
    _pad_by_repetition(folded)
    certificate = Certificate(
        _differences(mask(double, labels, keep), cut(double, labels, keep), batches),
        _differences(frozen, folded, batches),
        inexact,
        border,
        (2, 0 if images is None else len(images)),
        tolerance,
    )
    for name in ("cut",) if certificate.inexact else ("cut", "folded"):
        for head, difference in enumerate(getattr(certificate, name)):
            if not difference <= tolerance:
                raise PruneError(
                    f"head {head}: the {name} model differs from the masked one by {difference:.3g}, more than "
                    f"{tolerance:g}; do not use it, and report the architecture"
                )
    return certificate


def _differences(a: nn.Module, b: nn.Module, batches: Iterable[Tensor]) -> list[float]:
    largest: list[float] = []
    with torch.no_grad():
        for batch in batches:
            pairs = zip(tensors_in((a(batch),)), tensors_in((b(batch),)), strict=True)
            found = [float((x - y).abs().max()) for x, y in pairs]
            largest = [max(pair) for pair in zip(largest or found, found, strict=True)]
    return largest


def _pad_by_repetition(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
            module.padding_mode = "replicate"
