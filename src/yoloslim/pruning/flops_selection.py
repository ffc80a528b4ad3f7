"""Which channel groups stay under a budget of FLOPs: unlike a time they are a sum over layers and need no clock."""

import time
from typing import Any

import numpy as np
from torch import nn

from yoloslim.errors import OutOfReachError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.budget import LayerCost, budget_of
from yoloslim.pruning.counting import Counter
from yoloslim.pruning.coupling import Coupling
from yoloslim.pruning.importance import Scores
from yoloslim.pruning.selection import UNITS, Selection, out_of_reach


def select_by_flops(
    model: nn.Module, coupling: Coupling, request: PruneRequest, scores: Scores
) -> tuple[Selection, dict[str, Any]]:
    """Choose the groups that stay: the most importance within `target_gflops`, or a percent of the FLOPs.

    Args:
        model: the network that was traced; read only.
        coupling: of its channels.
        request: a percent is one of the network's FLOPs, to be saved.
        scores: what each channel matters; those of channels that go together are added up.

    Returns:
        The selection, and how it came about: `target_gflops`, `gap` (how much less importance could be lost at most,
        relatively) and `solving_s`.

    Raises:
        OutOfReachError: the minimums leave more than the budget.
        PruneError: nothing can be pruned, or no widths are found in time.
    """
    counter = Counter(model, coupling, request.imgsz)
    costly = [row.path for row in counter.layers(np.ones(coupling.groups, np.bool_)) if row.macs]
    budget = budget_of(model, coupling, request, scores, layer_macs(counter), costly)
    dense = budget.total
    if request.target_gflops is None:
        goal, name = dense * (1 - request.percent / 100), f"percent={request.percent:g} of the FLOPs"
    else:
        goal = round(request.target_gflops / 2e-9, 3)  # without the last digits, which dividing makes up
        name = f"target_gflops={request.target_gflops:g}"
    goal = min(goal, dense)
    if goal < budget.least:
        least = 2e-9 * budget.least if budget.least < dense else None
        raise OutOfReachError(out_of_reach(request, name, UNITS["gflops"], 2e-9 * dense, 2e-9 * goal, least))
    begin = time.perf_counter()
    widths = budget.widths(goal)
    found = {"target_gflops": 2e-9 * goal, "gap": widths.gap, "solving_s": time.perf_counter() - begin}
    kept = budget.kept(widths.removed)
    return budget.selection(kept, scores, 100 * (1 - goal / dense)), found


def layer_macs(counter: Counter) -> LayerCost:
    """Multiply-adds of a layer by its widths."""
    return lambda path, c_in, c_out: counter.count(path, c_in, c_out).macs
