"""Least widths of layers, and rounding. Channels are given back or taken in order of their score."""

from collections import defaultdict
from math import gcd

import numpy as np
from numpy.typing import NDArray

from yoloslim.pruning.coupling import BoolArray, Coupling

Strength = NDArray[np.float32]


def raise_to_minimum(
    coupling: Coupling, keep: BoolArray, strength: Strength, min_channels: int, layer_keep: float
) -> tuple[BoolArray, dict[str, int]]:
    """Give layers that fell below their minimum their strongest channels back.

    Args:
        coupling: of its channels.
        keep: (groups,) which stay so far; not changed.
        strength: (groups,) scores.
        min_channels: channels each layer keeps at least (all of them, if it has fewer).
        layer_keep: share of its channels each layer keeps at least.

    Returns:
        A mask that keeps no less, and layer path -> channels given back there.
    """
    keep, clipped = keep.copy(), {}
    for path, layer in coupling.layers.items():
        least = _least(len(layer.outputs), min_channels, layer_keep)
        before = int(keep[layer.outputs].sum())
        if before >= least:
            continue
        lost = np.unique(layer.outputs[~keep[layer.outputs]])
        for group in lost[np.argsort(-strength[lost], kind="stable")]:
            keep[group] = True
            if keep[layer.outputs].sum() >= least:
                break
        clipped[path] = int(keep[layer.outputs].sum()) - before
    return keep, clipped


def _least(width: int, min_channels: int, layer_keep: float) -> int:
    return min(width, max(min_channels, int(width * layer_keep)))


def round_widths(
    coupling: Coupling,
    keep: BoolArray,
    candidates: BoolArray,
    strength: Strength,
    multiple: int,
    min_channels: int = 1,
    layer_keep: float = 0.0,
) -> BoolArray:
    """Make each layer keep the nearest multiple of `multiple` channels (at least one multiple, and its minimum).

    Groups that pass through the same layers form a class, within which any may stand for another; each class
    is rounded by itself, so that layers sharing channels agree. A class that cannot reach a multiple stays whole.
    """
    rounded = keep.copy()
    for groups, copies in classes_of(coupling, candidates):
        step = multiple // gcd(multiple, copies)
        count = int(keep[groups].sum())
        target = max(step, (count + step // 2) // step * step)
        order = groups[np.argsort(-strength[groups], kind="stable")]
        ranked = order[np.argsort(~keep[order], kind="stable")]  # what is kept first, then the strongest others
        rounded[groups] = False
        rounded[ranked[:target]] = True
        if target < count and _is_too_narrow(coupling, rounded, groups[0], min_channels, layer_keep):
            rounded[ranked[: target + step]] = True
    return rounded


def _is_too_narrow(coupling: Coupling, keep: BoolArray, group: np.int64, min_channels: int, layer_keep: float) -> bool:
    """Whether a layer that gives this group keeps less than its minimum."""
    outputs = [layer.outputs for layer in coupling.layers.values() if group in layer.outputs]
    return any(keep[each].sum() < _least(len(each), min_channels, layer_keep) for each in outputs)


def classes_of(coupling: Coupling, candidates: BoolArray) -> list[tuple[NDArray[np.int64], int]]:
    """Candidate groups by the layers that hold them, and how often each layer repeats one of them."""
    seen: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for path, layer in coupling.layers.items():
        groups, counts = np.unique(layer.outputs, return_counts=True)
        for group, count in zip(groups.tolist(), counts.tolist(), strict=True):
            if candidates[group]:
                seen[group].append((path, count))
    classes: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for group, where in seen.items():
        classes[tuple(where)].append(group)
    return [(np.array(groups), min(n for _, n in where)) for where, groups in classes.items()]
