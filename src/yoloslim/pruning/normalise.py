"""Scores made comparable between layers, before one threshold is laid over all of them."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import Coupling
from yoloslim.pruning.importance import Scores, channel_scores, refuse_not_finite

Signature = tuple[tuple[str, int, bool], ...]


def ranking_scores(model: nn.Module, coupling: Coupling, request: PruneRequest, scores: Scores | None = None) -> Scores:
    """What channels are ranked by: the importance that is asked for, made comparable as is asked for.

    Args:
        model: the network that was traced.
        coupling: of its channels.
        request: `importance` and `normalise`.
        scores: of the importance, where it needs more than the network.

    Raises:
        PruneError: a score is NaN or infinite, and what `channel_scores` raises.
    """
    if scores is None:
        scores = channel_scores(model, coupling, request.importance, seed=request.seed)
    refuse_not_finite(scores, getattr(request.importance, "__name__", str(request.importance)))
    match request.normalise:
        case "lamp":
            return lamp(scores)
        case "isomorphic":
            return isomorphic(model, coupling, scores)
        case "uniform":
            return uniform(coupling, scores)
        case "mean":
            return per_mean(scores)
    return scores


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
    return _ranked(coupling, scores, lambda groups: _alike(model, coupling, groups))


def uniform(coupling: Coupling, scores: Scores) -> Scores:
    """Ranks within each layer: one threshold then takes the same share of every layer.

    Channels that a residual sum ties are those of one layer here, the sum.

    Args:
        coupling: of the channels.
        scores: to start from; a group's is the mean of its members'.
    """
    return _ranked(coupling, scores, lambda groups: _side_by_side(coupling, groups))


def per_mean(scores: Scores) -> Scores:
    """Scores over the mean of their layer, as Torch-Pruning compares layers unless told otherwise."""
    return {path: (values / max(float(values.mean()), 1e-12)).astype(np.float32) for path, values in scores.items()}


def _ranked(
    coupling: Coupling, scores: Scores, sets_of: Callable[[NDArray[np.int64]], list[NDArray[np.int64]]]
) -> Scores:
    """Of each group, the share of its set that scores no more."""
    total, members = np.zeros(coupling.groups), np.zeros(coupling.groups)
    for path, values in scores.items():
        np.add.at(total, coupling.layers[path].outputs, values)
        np.add.at(members, coupling.layers[path].outputs, 1)
    strength = total / np.maximum(members, 1)
    rank = np.zeros(coupling.groups, np.float32)
    for groups in sets_of(np.flatnonzero(members)):
        order = groups[np.argsort(strength[groups], kind="stable")]
        rank[order] = (np.arange(len(order)) + 1) / len(order)
    return {path: rank[coupling.layers[path].outputs] for path in scores}


def _side_by_side(coupling: Coupling, groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Groups by the layers that give them."""
    givers: dict[int, list[str]] = defaultdict(list)
    for path, layer in coupling.layers.items():
        for group in np.unique(layer.outputs).tolist():
            givers[group].append(path)
    sets: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for group in groups.tolist():
        sets[tuple(givers[group])].append(group)
    return [np.array(members) for members in sets.values()]


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
