"""Prune whole residual units: the branch goes, the identity stays."""

from typing import cast

import numpy as np
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector, remove_unit
from yoloslim.pruning.coupling import Coupling, find_coupling
from yoloslim.pruning.inputs import Example, Inputs
from yoloslim.pruning.surgery import M, copy_model


def rank_units(model: nn.Module, coupling: Coupling | None = None) -> list[tuple[str, float]]:
    """Removable residual units, weakest first, as (module path, mean |gamma| of the BatchNorm before the sum).

    Raises:
        PruneError: a scale is NaN or infinite.
    """
    coupling = coupling or find_coupling(model)
    ranked = []
    for unit in coupling.units:
        if unit.container is None or unit.gate is None:
            continue
        score = float(cast(nn.BatchNorm2d, model.get_submodule(unit.gate)).weight.detach().abs().mean())
        if not np.isfinite(score):
            raise PruneError(f"layer '{unit.gate}' has NaN or infinite scales; training has diverged, train again")
        ranked.append((unit.container, score))
    return sorted(ranked, key=lambda entry: entry[1])


def remove_units(model: M, count: int, example: Example | Inputs = (2, 3, 64, 64)) -> tuple[M, list[str]]:
    """A copy of the network without its `count` weakest residual units, and their module paths.

    Args:
        model: any network; unchanged. A `Detector` lists them in its spec.
        count: units to remove. More than there are removes all of them.
        example: inputs it accepts, or the shape (N, C, H, W) of one.

    Raises:
        PruneError: a count below zero, or scales that are not finite.
    """
    if count < 0:
        raise PruneError(f"residual_units={count} is out of range; allowed: at least 0")
    smaller = copy_model(model)
    paths = [path for path, _ in rank_units(model, find_coupling(model, example))[:count]] if count else []
    for path in paths:
        remove_unit(smaller, path)
    if isinstance(smaller, Detector) and paths:
        inside = tuple(f"{path}." for path in paths)
        widths = {path: width for path, width in smaller.spec.widths.items() if not path.startswith(inside)}
        biased = tuple(path for path in smaller.spec.biased if not path.startswith(inside))
        removed = (*smaller.spec.removed, *paths)
        smaller.spec = smaller.spec.model_copy(update={"widths": widths, "removed": removed, "biased": biased})
    return smaller, paths
