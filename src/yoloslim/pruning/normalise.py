"""Scores made comparable between layers, before one threshold is laid over all of them."""

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from yoloslim.pruning.coupling import Coupling
from yoloslim.pruning.importance import Scores

Signature = tuple[tuple[str, int, bool], ...]


def lamp(scores: Scores) -> Scores:
    """Layer-adaptive scores (LAMP, arXiv 2010.07611), by channel: what a channel is of all that are no weaker.

    A channel's square over the sum of the squares of the channels of its layer that score no less: the strongest of
    each layer has 1, so no layer loses all, and layers of many alike lose more than those of few.
    """
    return {path: _lamp(values.astype(np.float64)) for path, values in scores.items()}


def _lamp(values: NDArray[np.float64]) -> NDArray[np.float32]:
    order = np.argsort(values, kind="stable")
    squares = values[order] ** 2
    no_weaker = np.cumsum(squares[::-1])[::-1]
    found = np.empty_like(values)
    found[order] = np.divide(squares, no_weaker, out=np.zeros_like(squares), where=no_weaker > 0)
    return found.astype(np.float32)


def isomorphic(model: nn.Module, coupling: Coupling, scores: Scores) -> Scores:
    """Ranks among channel groups of the same structure (isomorphic pruning, arXiv 2407.04616).

    Only groups that pass through the same kinds of layers are comparable: each set of them is ranked by itself,
    and a score is the share of its set that scores less. One threshold then takes the same share of each set.

    Args:
        model: the network that was traced.
        coupling: of its channels.
        scores: to start from; a group's is the mean of its members'.
    """
    total, members = np.zeros(coupling.groups), np.zeros(coupling.groups)
    for path, values in scores.items():
        np.add.at(total, coupling.layers[path].outputs, values)
        np.add.at(members, coupling.layers[path].outputs, 1)
    strength = total / np.maximum(members, 1)
    rank = np.zeros(coupling.groups, np.float32)
    for groups in _alike(model, coupling, np.flatnonzero(members)):
        order = groups[np.argsort(strength[groups], kind="stable")]
        rank[order] = (np.arange(len(order)) + 1) / len(order)
    return {path: rank[coupling.layers[path].outputs] for path in scores}


def _alike(model: nn.Module, coupling: Coupling, groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Groups by the kinds of layers that give and read them, however wide those are."""
    signs: dict[int, list[tuple[str, int, bool]]] = defaultdict(list)
    for path, layer in coupling.layers.items():
        weight = getattr(model.get_submodule(path), "weight", None)
        kernel = int(np.prod(weight.shape[2:])) if isinstance(weight, torch.Tensor) else 0
        for reads, side in ((False, layer.outputs), (True, layer.inputs)):
            for group in np.unique(side).tolist():
                signs[group].append((layer.kind, kernel, reads))
    sets: dict[Signature, list[int]] = defaultdict(list)
    for group in groups.tolist():
        sets[tuple(sorted(signs[group]))].append(group)
    return [np.array(members) for members in sets.values()]
