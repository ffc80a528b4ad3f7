"""The proof that comes with every pruned model: it computes what the masked model computes.

All is compared in float64, so that what shows is the surgery and not sums rounded in another order.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from yoloslim.cores import thread_count
from yoloslim.errors import PruneError
from yoloslim.pruning.coupling import BoolArray, Coupling
from yoloslim.pruning.folding import fold_constants
from yoloslim.pruning.inputs import Example, Inputs, tensors_in, to_double
from yoloslim.pruning.masking import mask
from yoloslim.pruning.surgery import copy_model, cut


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
    coupling: Coupling,
    keep: BoolArray,
    images: Example | Inputs | None = None,
    *,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Certificate:
    """Compare the cut model with the masked one, on random and on real images.

    Args:
        model: the network before the cut.
        coupling: of its channels.
        keep: (groups,) true for channel groups that stay.
        images: real inputs, such as images (N, 3, H, W) in [0, 1].
        tolerance: largest |difference| allowed.
        seed: of the random images.

    Raises:
        PruneError: a difference above the tolerance, naming the head: the surgery is wrong, do not use the model.
    """
    double = copy_model(model).double().cpu().eval()
    real = None if images is None else Inputs.of(images)
    batches = [_random(coupling.example if real is None else real, seed)]
    if real is not None:
        batches.append(real.map(to_double))
    frozen, folded = mask(double, coupling, keep, freeze=True), copy_model(double)
    inexact = fold_constants(folded, coupling, keep)
    folded = cut(folded, coupling, keep)
    border = _differences(frozen, folded, batches)
    _pad_by_repetition(frozen)
    _pad_by_repetition(folded)
    certificate = Certificate(
        _differences(mask(double, coupling, keep), cut(double, coupling, keep), batches),
        _differences(frozen, folded, batches),
        inexact,
        border,
        (len(batches[0].tensors[0]), 0 if real is None else len(real.tensors[0])),
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


def _random(inputs: Inputs, seed: int) -> Inputs:
    """Two random images where one tensor comes in a batch; else as many as there are."""
    tensors = inputs.tensors
    if len(tensors) == 1 and tensors[0].is_floating_point() and inputs.args == (tensors[0],):
        rng = torch.Generator().manual_seed(seed)
        return Inputs.of(torch.rand(2, *tensors[0].shape[1:], generator=rng).double())
    return inputs.random(seed)


def _differences(a: nn.Module, b: nn.Module, batches: Iterable[Inputs]) -> list[float]:
    """Of two networks that compute side by side, each with half of the threads: see `training.shares`."""
    threads = thread_count(0, "threads")
    sides = min(2, threads)
    largest: list[float] = []
    with ThreadPoolExecutor(sides, initializer=torch.set_num_threads, initargs=(threads // sides,)) as pool:
        for batch in batches:
            x_all, y_all = (tensors_in((found,)) for found in pool.map(partial(_call, batch), (a, b)))
            pairs = zip(x_all, y_all, strict=True)
            found = [float((x.double() - y.double()).abs().max()) for x, y in pairs if x.numel()]
            largest = [max(pair) for pair in zip(largest or found, found, strict=True)]
    return largest


def _call(batch: Inputs, model: nn.Module) -> Any:
    with torch.no_grad():  # which holds for one thread
        return batch.call(model)


def _pad_by_repetition(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
            module.padding_mode = "replicate"
