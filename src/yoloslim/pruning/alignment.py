"""Operations that cut up the channel axis, and what must hold so that they still fit after channels are gone.

The pruned network runs the same code. `chunk(2)` then halves fewer channels, and a channel shuffle deals fewer
cards: what was aligned stays aligned only if corresponding channels go together, which couples them. Where
the code holds a channel count as a number (`x[:, :32]`, `view(b, 4, 8, h, w)`), the count must not change; where it
reads one off a tensor (`view(b, c, h, w)`), the channels of that tensor go together with those that it counts here.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from yoloslim.pruning.graph import Call


class Propagation(Protocol):
    """How rules for single operations state what must stay together, and what they may ask."""

    def protect(self, x: Tensor) -> None:
        """These ids never go."""

    def couple(self, a: Tensor, b: Tensor) -> Any:
        """Ids at the same place go together."""

    def couple_along(self, x: Tensor, axis: int) -> None:
        """Ids that differ only in their place on one axis go together."""

    def canonical(self, x: Tensor) -> Tensor:
        """Each id as the one that stands for its group."""

    def varies(self, x: Tensor, axis: int) -> bool:
        """Whether ids of different groups stand along an axis, as they do along the one that holds channels."""

    def counted(self, size: Any) -> Tensor | None:
        """Ids (n,) of the channels that a size counts; None if it counts none, or is a number in the code."""

    def solid(self) -> Tensor:
        """The id of whatever does not depend on channels."""

    def join(self, a: Tensor, b: Tensor, call: Call) -> Tensor:
        """Two tensors that meet elementwise."""

    def mix(self, call: Call) -> Any:
        """Every output needs every channel."""


def split_axis(x: Tensor, axis: int, inner: int) -> Tensor:
    """Split one axis of size k * inner into two, (k, inner)."""
    return x.reshape(*x.shape[:axis], -1, inner, *x.shape[axis + 1 :])


def line(x: Tensor, axis: int) -> Tensor:
    """(n,): ids along an axis, at the first place of all others."""
    return x.movedim(axis, 0).flatten(1)[:, 0] if x.dim() > 1 else x


def aligned_split(coupler: Propagation, call: Call) -> Any:
    """`chunk`, `split` and `unbind`: equal computed parts are coupled piece by piece; other parts are protected."""
    x, parts, name = call.tensor(), call.native(), call.name
    axis = call.argument(1, "dim", 0) if name == "unbind" else call.argument(2, "dim", 0)
    if not coupler.varies(x, axis):
        return parts
    size = next((call.kwargs[key] for key in call.kwargs if "split_size" in key), call.argument(1, "split_sizes"))
    sizes = list(size) if isinstance(size, list | tuple) else [size] * len(parts)
    whole = line(x, axis)
    counts = [None if name == "unbind" else coupler.counted(size) for size in sizes]
    halves = name == "chunk" or all(c is not None and _same(coupler, c, whole) for c in counts)
    if halves and name != "unbind" and len({part.shape[axis] for part in parts}) == 1:
        for part in parts[1:]:
            coupler.couple(parts[0], part)
    elif name.startswith("split"):
        for part, count in zip(parts, counts, strict=True):
            _agree(coupler, line(part, axis), count)
    else:
        coupler.protect(x)
    return parts


def _same(coupler: Propagation, a: Tensor, b: Tensor) -> bool:
    """Whether as many channels are left of one as of the other, whatever goes: they are the same, in any order."""
    return a.shape == b.shape and torch.equal(coupler.canonical(a).sort().values, coupler.canonical(b).sort().values)


def _agree(coupler: Propagation, channels: Tensor, count: Tensor | None) -> None:
    """Channels whose number the code gives: as a count of others, with which they go together, or as a number."""
    if count is not None and count.shape == channels.shape:
        coupler.couple(channels, count)
        return
    coupler.protect(channels)
    if count is not None:
        coupler.protect(count)


def aligned_getitem(coupler: Propagation, call: Call) -> Any:
    """Indexing: slices of space are free; along channels only `[k::step]` over whole blocks is."""
    x = call.tensor()
    if call.name != "getitem":  # narrow and select
        if coupler.varies(x, call.argument(1, "dim")):
            coupler.protect(x)
        return call.native()
    index = call.args[1]
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, Tensor) for i in index):
        return coupler.mix(call)
    if any(isinstance(i, list) for i in index):
        coupler.protect(x)
        return call.native()
    used = sum(i is not None and i is not Ellipsis for i in index)
    axis = 0
    for i in index:
        if i is Ellipsis:
            axis += x.dim() - used
        elif i is not None:
            if i != slice(None) and coupler.varies(x, axis):
                _align_index(coupler, x, axis, i)
            axis += 1
    return call.native()


def _align_index(coupler: Propagation, x: Tensor, axis: int, index: Any) -> None:
    size = x.shape[axis]
    if isinstance(index, slice) and index.stop is None and index.step:
        start, step = index.start or 0, index.step
        if 0 <= start < step and size % step == 0:
            coupler.couple_along(split_axis(x, axis, step), axis + 1)
            return
    coupler.protect(x)


def aligned_view(coupler: Propagation, call: Call) -> Any:
    """`view` and `reshape`: a split channel axis is coupled along the factors that the code holds as numbers."""
    x = call.tensor()
    out: Tensor = call.native()
    written = _written(call, x)
    if len(written) != out.dim():  # view(dtype)
        coupler.protect(x)
        return out
    for sources, targets in _matching_axes(x.shape, out.shape):
        if any(coupler.varies(x, axis) for axis in sources):
            _align_run(coupler, x, out, written, sources, targets)
    return out


def _align_run(
    coupler: Propagation, x: Tensor, out: Tensor, written: tuple[Any, ...], sources: list[int], targets: list[int]
) -> None:
    """Axes of which one holds channels become others."""
    counts = {t: coupler.counted(written[t]) for t in targets}
    free = [t for t in targets if counts[t] is not None or (isinstance(written[t], int) and int(written[t]) == -1)]
    fixed = [t for t in targets if t not in free]
    for t, count in counts.items():
        if count is None:
            continue
        if count.shape == out.shape[t : t + 1]:
            if not _same(coupler, count, line(out, t)):  # a shuffle gives all that were counted, in another order
                coupler.couple(line(out, t), count)
        elif len(sources) > 1 or not _same(coupler, count, line(x, sources[0])):
            _agree(coupler, line(x, sources[0]), count)  # couples what it is a part of, or protects both
            if count.shape != x.shape[sources[0] : sources[0] + 1]:
                coupler.protect(x)
    if len(free) != 1 or (fixed and len(sources) > 1):
        coupler.protect(x)
        return
    for axis in fixed:
        coupler.couple_along(out, axis)


def aligned_expand(coupler: Propagation, call: Call) -> Any:
    """`expand`: a channel axis whose length is a number must keep it. `repeat` just repeats."""
    x = call.tensor()
    out: Tensor = call.native()
    if call.name == "expand_as":
        if any(coupler.varies(x, axis) for axis in range(x.dim())):
            coupler.couple(out, call.argument(1, "other"))
        return out
    if call.name == "repeat":
        return out
    for axis, size in zip(range(-x.dim(), 0), _written(call, x)[-x.dim() :], strict=True):
        if size != -1 and coupler.varies(x, axis):
            _agree(coupler, line(x, axis), coupler.counted(size))
        elif size != -1 and (count := coupler.counted(size)) is not None:
            coupler.protect(count)
    return out


def _written(call: Call, x: Tensor) -> tuple[Any, ...]:
    """The sizes that a call names, one an axis of its output; -1 where it is as it comes."""
    if call.name == "unflatten":
        axis, inner = call.argument(1, "dim") % x.dim(), call.argument(2, "sizes")
        return (*(-1,) * axis, *inner, *(-1,) * (x.dim() - axis - 1))
    if call.name == "reshape_as":
        other = call.argument(1, "other")
        return tuple(line(other, axis) for axis in range(other.dim()))
    sizes = call.args[1:] or (call.kwargs.get("shape", call.kwargs.get("size")),)
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes


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
