"""What pruning did, layer by layer, as plain values for JSON, tables and MLflow."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from yoloslim.prune_request import TARGETS, PruneRequest
from yoloslim.pruning.counting import Counter
from yoloslim.pruning.coupling import BoolArray, Coupling, find_coupling
from yoloslim.pruning.inputs import Example, Inputs
from yoloslim.pruning.selection import Selection
from yoloslim.pruning.union import FILTERS

DEMANDS = "every layer keeps what min_channels, layer_keep and round_to demand"


def prune_report(model: nn.Module, coupling: Coupling, selection: Selection, imgsz: int | None) -> dict[str, Any]:
    """Summary and per-layer table of a selection.

    Args:
        model: the network before the cut.
        coupling: of its channels.
        selection: what stays.
        imgsz: image side in pixels that FLOPs are counted at; None counts at the size of the example inputs.

    Returns:
        `requested_percent`, `effective_percent`, `percent_limit`, `threshold`, `clipped` (layer -> channels
        given back), `kept_whole` (operations that need every channel of what they read), `before` and `after` (params,
        params_m, gflops, gflops_padded, channels) and `layers` (path, kind, kept, total, params, macs, macs_padded:
        padded to 16 channels as the Ascend cube unit computes).
    """
    counter = Counter(model, coupling, imgsz)
    everything = np.ones(coupling.groups, np.bool_)
    rows = counter.layers(selection.keep)
    return {
        "requested_percent": selection.requested_percent,
        "effective_percent": selection.effective_percent,
        "percent_limit": selection.percent_limit,
        "threshold": selection.threshold,
        "clipped": selection.clipped,
        "kept_whole": list(coupling.kept),
        "imgsz": imgsz,
        "before": _totals(counter, coupling, everything),
        "after": _totals(counter, coupling, selection.keep),
        "layers": [vars(row) for row in rows],
    }


def shortfall(request: PruneRequest, report: Mapping[str, Any]) -> str:
    """Why less went than was asked for; empty where what was asked for went.

    Args:
        request: what was asked for.
        report: see `prune_report`, with `removed_units`.
    """
    removed, units = report["effective_percent"], len(report["removed_units"])
    target = next((name for name in TARGETS if getattr(request, name) is not None), None)
    if units < request.residual_units:
        return f"that is {units} of {request.residual_units} residual units: no more can go"
    by_budget = "target_ms" in report.get("latency", {}) or "flops" in report
    if by_budget and not removed:
        return "the budget is met by the network as it is, and nothing was cut"
    if target:
        met = f"{target}={getattr(request, target):g} is met by the network as it is, and nothing was cut"
        return "" if removed else met
    if behind := lagging(request, report):
        path, lost = next(iter(behind.items()))
        others = f" (and {len(behind) - 1} layers like it)" if len(behind) > 1 else ""
        return f"layer '{path}' lost {lost:.1f} % of its channels{others}, less than its own percent: {DEMANDS}"
    if request.layer_percents or by_budget or removed >= request.percent - 1:
        return ""
    return f"that is less than {request.percent:g} %: channels of equal scores are not told apart, and {DEMANDS}"


def lagging(request: PruneRequest, report: Mapping[str, Any]) -> dict[str, float]:
    """Layers that lost less than the percent of their own, by a channel or more: path -> percent that they lost."""
    behind = {}
    for name, percent in request.layer_percents.items():
        for row in report["layers"]:
            inside = row["path"].startswith(f"{name}.") and row["kind"] in FILTERS
            lost = row["total"] - row["kept"]
            if (row["path"] == name or inside) and row["total"] * percent / 100 - lost >= 1:
                behind[row["path"]] = 100 * lost / row["total"]
    return behind


def count_totals(model: nn.Module, imgsz: int | None, example: Example | Inputs = (2, 3, 64, 64)) -> dict[str, float]:
    """Totals of a network as it is: params, params_m, gflops, gflops_padded, channels, groups."""
    coupling = find_coupling(model, example)
    return _totals(Counter(model, coupling, imgsz), coupling, np.ones(coupling.groups, np.bool_))


def _totals(counter: Counter, coupling: Coupling, keep: BoolArray) -> dict[str, float]:
    rows = counter.layers(keep)
    params = counter.params(keep)
    return {
        "params": params,
        "params_m": params / 1e6,
        "gflops": 2e-9 * sum(row.macs for row in rows),
        "gflops_padded": 2e-9 * sum(row.macs_padded for row in rows),
        "channels": sum(row.kept for row in rows if row.kind == "batchnorm"),
        "groups": int((keep & ~coupling.protected).sum()),
    }
