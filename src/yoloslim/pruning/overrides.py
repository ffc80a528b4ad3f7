"""What is asked of single layers: to keep all channels, or to lose a percent of their own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import PruneError
from yoloslim.nearest import check_name
from yoloslim.pruning.coupling import BoolArray, Coupling
from yoloslim.pruning.union import FILTERS


@dataclass(frozen=True)
class Share:
    """A percent of one layer's channels.

    Attributes:
        path: of the layer.
        groups: (n,) its channel groups, each once.
        percent: of them to remove.
    """

    path: str
    groups: NDArray[np.int64]
    percent: float


def ignored_groups(coupling: Coupling, names: Iterable[str]) -> BoolArray:
    """(groups,) true for channels that these layers give.

    Raises:
        PruneError: no layer has the name.
    """
    ignored = np.zeros(coupling.groups, np.bool_)
    for name in names:
        for path in _layers(coupling, name, "ignored_layers"):
            ignored[coupling.layers[path].outputs] = True
    return ignored


def layer_shares(coupling: Coupling, candidates: BoolArray, percents: Mapping[str, float]) -> list[Share]:
    """The percents of single layers, none of which contradicts another.

    Args:
        coupling: of its channels.
        candidates: (groups,) true where a group may go.
        percents: by path of a layer, or of a module for all layers in it.

    Raises:
        PruneError: no layer has the name; its channels must stay; or two layers that share channels, as a sum makes
            them, are given different percents.
    """
    shares: list[Share] = []
    owner: dict[int, Share] = {}
    for name, percent in percents.items():
        for path in _layers(coupling, name, "layer_percents"):
            groups = np.unique(coupling.layers[path].outputs)
            if percent and not candidates[groups].all():
                raise PruneError(
                    f"layer_percents: {int((~candidates[groups]).sum())} of {len(groups)} channels of '{path}' must "
                    "stay: they leave the network, the code holds their number, or they are ignored; take it out"
                )
            share = Share(path, groups, percent)
            for group in groups.tolist():
                other = owner.setdefault(group, share)
                if other.percent != percent:
                    shared = len(np.intersect1d(other.groups, groups))
                    raise PruneError(
                        f"layer_percents: '{other.path}' ({other.percent:g}) and '{path}' ({percent:g}) share {shared} "
                        "channels, which a sum or the like ties: give both the same percent, or only one of them any"
                    )
            shares.append(share)
    return shares


def _layers(coupling: Coupling, name: str, what: str) -> list[str]:
    """Paths of the layers that a name stands for: those that make channels, or the one that is named."""
    if name in coupling.layers:
        return [name]
    inside = [path for path, layer in coupling.layers.items() if path.startswith(f"{name}.") and layer.kind in FILTERS]
    if not inside:
        check_name(f"{what}: layer", name, coupling.layers, PruneError)
    return inside
