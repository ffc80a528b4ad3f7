"""Look at a model before pruning it: layers, groups, where its scales stand, how far it can go."""

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest, Scope
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.forecast import prunability
from yoloslim.pruning.importance import channel_scores
from yoloslim.pruning.prune_report import count_totals
from yoloslim.pruning.selection import penalised_bns, select_channels

QUANTILES = (5, 25, 50, 75, 95)


def inspect_model(model: nn.Module, imgsz: int) -> dict[str, Any]:
    """What a person wants to know before choosing a scope and a percent, as plain values.

    Args:
        model: any stored model.
        imgsz: image side in pixels that FLOPs are counted at.

    Returns:
        `totals` (see `report.count_totals`), `scopes` (by name: prunable channels, percent_limit, verdict in
        words, gamma quantiles; or the reason why there is nothing to prune), `layers` (each BatchNorm: channels,
        gamma quantiles, near_zero channels, whether a residual sum ties it), `units` (residual units).

    Raises:
        PruneError: scales are NaN or infinite.
        TraceError: an operation is not understood.
    """
    coupling = find_coupling(model)
    scores = channel_scores(model, coupling)
    scopes: dict[str, Any] = {}
    for scope in get_args(Scope):
        try:
            selection = select_channels(model, coupling, PruneRequest(scope=scope, percent=0, imgsz=imgsz))
        except PruneError as error:
            scopes[scope] = {"channels": 0, "verdict": str(error)}
            continue
        gammas = np.concatenate([scores[path] for path in penalised_bns(coupling, scope)])
        scopes[scope] = {
            "channels": len(gammas),
            "percent_limit": selection.percent_limit,
            "verdict": prunability(gammas).text,
        } | _quantiles(gammas)
    layers = [
        {
            "path": path,
            "channels": len(values),
            "tied": bool(coupling.residual[coupling.layers[path].outputs].any()),
            "near_zero": int((values < 1e-2).sum()),
        }
        | _quantiles(values)
        for path, values in scores.items()
    ]
    return {
        "totals": count_totals(model, imgsz),
        "scopes": scopes,
        "layers": layers,
        "units": [unit.container for unit in coupling.units if unit.container],
    }


def prunable_scales(model: nn.Module, scope: Scope) -> NDArray[np.float32]:
    """(N,) |gamma| of all channels that a scope lets go."""
    coupling = find_coupling(model)
    scores = channel_scores(model, coupling)
    return np.concatenate([scores[path] for path in penalised_bns(coupling, scope)])


def removed_scale(model: nn.Module, cut: nn.Module) -> float:
    """Share, 0 to 1, that the channels which were cut have of the sum of all |gamma|: what the network misses.

    Args:
        model: before.
        cut: after, not folded and not finetuned.
    """
    before, after = (
        sum(float(m.weight.detach().abs().sum()) for m in each.modules() if isinstance(m, nn.BatchNorm2d))
        for each in (model, cut)
    )
    return 1 - after / before if before else 0.0


def _quantiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {f"gamma_p{q:02d}": float(np.percentile(values, q)) for q in QUANTILES}
