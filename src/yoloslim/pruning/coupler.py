"""Channel ids while a network is being read, and what is known to go together."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from yoloslim.pruning.alignment import line
from yoloslim.pruning.graph import AbstractInterpreter, Call, spread_channels, uniform_vector
from yoloslim.pruning.inputs import Inputs
from yoloslim.pruning.sizes import Dim
from yoloslim.pruning.union import DisjointSets, IntArray, LayerKind


@dataclass
class RawLayer:
    """Channel ids of one layer while the network is still being read; see `coupling.LayerGroups`."""

    kind: LayerKind
    inputs: IntArray
    outputs: IntArray
    positions: float


class Coupler(AbstractInterpreter):
    """Runs a network on int64 tensors of channel ids; says what must stay, and what must stay together."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph)
        self.sets = DisjointSets()
        self.protected: set[int] = set()
        self.residual: set[int] = set()
        self.layers: dict[str, RawLayer] = {}
        self.parameters: dict[str, Tensor] = {}
        self.sums: list[fx.Node] = []
        self.kept: list[str] = []
        self.batch = 1
        self.lines: dict[tuple[fx.Node, int], Tensor] = {}
        self._solid: Tensor | None = None

    def read(self, inputs: Inputs) -> None:
        """Give everything ids, from the inputs on, which nothing may remove."""
        self.batch = len(inputs.tensors[0])
        given = torch.from_numpy(self.sets.fresh(1))
        self.protect(given)
        self.run(*((given if x.is_floating_point() else self.solid()).expand(x.shape) for x in inputs.tensors))

    def run_node(self, n: fx.Node) -> Any:
        """Interpret one node; a channel count that the network calculates with must not change."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            for axis in n.meta.get("counted", ()):
                if self.varies(result, axis):
                    self.protect(result)
            for axis in n.meta.get("sized", ()):
                self.lines[n, axis] = line(result, axis)
        return result

    def _dispatch(self, call: Call) -> Any:
        result = super()._dispatch(call)
        if not READERS.intersection((call.name,)):
            for size in _dims_in((call.args, call.kwargs)):
                if (count := self.counted(size)) is not None:
                    self.protect(count)
        return result

    def solid(self) -> Tensor:
        """The one id, of shape (1,), of whatever does not depend on channels; nothing may remove it."""
        if self._solid is None:
            self._solid = torch.from_numpy(self.sets.fresh(1))
            self.protect(self._solid)
        return self._solid

    def protect(self, x: Tensor) -> None:
        """These ids never go."""
        self.protected.update(torch.unique(x).tolist())

    def couple(self, a: Tensor, b: Tensor) -> set[int]:
        """Unify elementwise; gives the ids that were not one group before."""
        a, b = broadcast(a, b)
        return {p for p, q in _pairs(a, b).T.tolist() if self.sets.unify(p, q)}

    def couple_along(self, x: Tensor, axis: int) -> None:
        """Ids that differ only in their place on one axis go together."""
        self.couple(x, x.narrow(axis, 0, 1))

    def canonical(self, x: Tensor) -> Tensor:
        """Each id as the one that stands for its group."""
        unique, places = torch.unique(x, return_inverse=True)
        return torch.tensor([self.sets.find(member) for member in unique.tolist()])[places]

    def varies(self, x: Tensor, axis: int) -> bool:
        """Whether ids of different groups stand along an axis, as they do along the one that holds channels."""
        if bool((x == x.narrow(axis, 0, 1)).all()):
            return False
        x = self.canonical(x)
        return bool((x != x.narrow(axis, 0, 1)).any())

    def counted(self, size: Any) -> Tensor | None:
        """Ids (n,) of the channels that a size counts; None if it counts none, or is a number in the code."""
        ids = size if isinstance(size, Tensor) else None
        if isinstance(size, Dim) and size.source is not None:
            ids = self.lines.get(size.source)
        return ids if ids is not None and self.varies(ids, 0) else None

    def channels(self, x: Tensor, axis: int = 1) -> Tensor:
        """Ids along an axis whose weights are shared by all positions, which they couple."""
        x = x.movedim(axis, 1) if x.dim() > 1 else x[None]
        vector, same = uniform_vector(x)
        if not same:
            self.couple(x, spread_channels(vector, x.shape))
        return vector


READERS = frozenset(("view", "reshape", "unflatten", "expand", "broadcast_to", "split", "split_with_sizes"))
"""Operations whose rules look at where their sizes come from; anywhere else such a size must not change."""


def _dims_in(value: Any) -> list[Dim]:
    if isinstance(value, Dim):
        return [value]
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, dict):
        value = list(value.values())
    return [dim for item in value for dim in _dims_in(item)] if isinstance(value, list | tuple) else []


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    """The different pairs of ids that meet, as (2, pairs)."""
    a, b = a.flatten(), b.flatten()
    base = int(b.max()) + 1
    codes = torch.unique(a * base + b)
    return torch.stack((codes // base, codes % base))


def broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the shape that they have when they meet."""
    a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    return a, b
