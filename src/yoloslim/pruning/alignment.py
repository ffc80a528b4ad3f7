"""Operations that cut up the channel axis, and what must hold so that they still fit after channels are gone.

The pruned network runs the same code. `chunk(2)` then halves fewer channels, and a channel shuffle deals fewer
cards: what was aligned stays aligned only if corresponding channels go together, which ties their labels. Where
the code holds a channel count as a number (`x[:, :32]`, `view(b, 4, 8, h, w)`), the count must not change.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from yoloslim.pruning.graph import Call


class Constraints(Protocol):
    """How the functions here state what must stay together."""

    def protect(self, x: Tensor) -> None:
        """These labels never go."""

    def tie(self, a: Tensor, b: Tensor) -> Any:
        """Labels at the same place go together."""

    def tie_along(self, x: Tensor, axis: int) -> None:
        """Labels that differ only in their place on one axis go together."""


def varies(x: Tensor, axis: int) -> bool:
    """Whether labels differ along an axis, as they do along the one that holds channels."""
    return bool((x != x.narrow(axis, 0, 1)).any())


def split_axis(x: Tensor, axis: int, inner: int) -> Tensor:
    """Split one axis of size k * inner into two, (k, inner)."""
    return x.reshape(*x.shape[:axis], -1, inner, *x.shape[axis + 1 :])


def aligned_split(constraints: Constraints, call: Call) -> Any:
    """`chunk`, `split` and `unbind`: equal computed parts are tied piece by piece; other parts are protected."""
    x, parts = call.tensor(), call.native()
    name = getattr(call.node.target, "__name__", call.node.target)
    axis = call.argument(1, "dim", 0) if name == "unbind" else call.argument(2, "dim", 0)
    if not varies(x, axis):
        return parts
    size = call.literal(1, "split_size_or_sections" if "split_size_or_sections" in call.kwargs else "split_size")
    sizes = size if isinstance(size, list | tuple) else [size]
    computed = name == "chunk" or (name == "split" and all(isinstance(s, fx.Node) for s in sizes))
    if computed and len({part.shape[axis] for part in parts}) == 1:
        for part in parts[1:]:
            constraints.tie(parts[0], part)
    else:
        constraints.protect(x)
    return parts


def aligned_getitem(constraints: Constraints, call: Call) -> Any:
    """Indexing: slices of space are free; along channels only `[k::step]` over whole blocks is."""
    x, index = call.tensor(), call.args[1]
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, Tensor | list) for i in index):
        constraints.protect(x)
        return call.native()
    used = sum(i is not None and i is not Ellipsis for i in index)
    axis = 0
    for i in index:
        if i is Ellipsis:
            axis += x.dim() - used
        elif i is not None:
            if i != slice(None) and varies(x, axis):
                _align_index(constraints, x, axis, i)
            axis += 1
    return call.native()


def _align_index(constraints: Constraints, x: Tensor, axis: int, index: Any) -> None:
    size = x.shape[axis]
    if isinstance(index, slice) and index.stop is None and index.step:
        start, step = index.start or 0, index.step
        if 0 <= start < step and size % step == 0:
            constraints.tie_along(split_axis(x, axis, step), axis + 1)
            return
    constraints.protect(x)


def aligned_view(constraints: Constraints, call: Call) -> Any:
    """`view` and `reshape`: a split channel axis is tied along the factors that the code holds as numbers."""
    x = call.tensor()
    out: Tensor = call.native()
    written = call.node.args[1:] or (call.node.kwargs["shape"],)
    if len(written) == 1 and isinstance(written[0], list | tuple):
        written = tuple(written[0])
    if len(written) == 1 and isinstance(written[0], fx.Node):  # a shape computed as a whole
        written = written * out.dim()
    if len(written) != out.dim():  # view(dtype)
        constraints.protect(x)
        return out
    for sources, targets in _matching_axes(x.shape, out.shape):
        if not any(varies(x, axis) for axis in sources):
            continue
        fixed = [t for t in targets if isinstance(written[t], int) and written[t] != -1 and out.shape[t] > 1]
        free = [t for t in targets if t not in fixed and out.shape[t] > 1]
        if len(free) != 1 or (fixed and len(sources) > 1):
            constraints.protect(x)
            continue
        for axis in fixed:
            constraints.tie_along(out, axis)
    return out


def _matching_axes(before: torch.Size, after: torch.Size) -> list[tuple[list[int], list[int]]]:
    """Smallest runs of axes with equal numbers of elements; axes of size one belong to none."""
    sources = [i for i, n in enumerate(before) if n > 1]
    targets = [i for i, n in enumerate(after) if n > 1]
    runs = []
    while sources:
        run: tuple[list[int], list[int]] = ([sources.pop(0)], [targets.pop(0)])
        while (m := math.prod(before[i] for i in run[0])) != (n := math.prod(after[i] for i in run[1])):
            if m < n:
                run[0].append(sources.pop(0))
            else:
                run[1].append(targets.pop(0))
        runs.append(run)
    return runs
