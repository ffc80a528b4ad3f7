"""Operations that cut up the channel axis, and what must hold so that they still fit after channels are gone.

The pruned network runs the same code. `chunk(2)` then halves fewer channels, and a channel shuffle deals fewer
cards: what was aligned stays aligned only if corresponding channels go together, which ties their labels. Where
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
        """These labels never go."""

    def tie(self, a: Tensor, b: Tensor) -> Any:
        """Labels at the same place go together."""

    def tie_along(self, x: Tensor, axis: int) -> None:
        """Labels that differ only in their place on one axis go together."""

    def canonical(self, x: Tensor) -> Tensor:
        """Each label as the one that stands for its group."""

    def varies(self, x: Tensor, axis: int) -> bool:
        """Whether labels of different groups stand along an axis, as they do along the one that holds channels."""

    def counted(self, size: Any) -> Tensor | None:
        """Labels (n,) of the channels that a size counts; None if it counts none, or is a number in the code."""

    def solid(self) -> Tensor:
        """The label of whatever does not depend on channels."""

    def join(self, a: Tensor, b: Tensor, call: Call) -> Tensor:
        """Two tensors that meet elementwise."""

    def mix(self, call: Call) -> Any:
        """Every output needs every channel."""


def split_axis(x: Tensor, axis: int, inner: int) -> Tensor:
    """Split one axis of size k * inner into two, (k, inner)."""
    return x.reshape(*x.shape[:axis], -1, inner, *x.shape[axis + 1 :])


def line(x: Tensor, axis: int) -> Tensor:
    """(n,): labels along an axis, at the first place of all others."""
    return x.movedim(axis, 0).flatten(1)[:, 0] if x.dim() > 1 else x


def aligned_split(labels: Propagation, call: Call) -> Any:
    """`chunk`, `split` and `unbind`: equal computed parts are tied piece by piece; other parts are protected."""
    x, parts, name = call.tensor(), call.native(), call.name
    axis = call.argument(1, "dim", 0) if name == "unbind" else call.argument(2, "dim", 0)
    if not labels.varies(x, axis):
        return parts
    size = next((call.kwargs[key] for key in call.kwargs if "split_size" in key), call.argument(1, "split_sizes"))
    sizes = list(size) if isinstance(size, list | tuple) else [size] * len(parts)
    whole = line(x, axis)
    counts = [None if name == "unbind" else labels.counted(size) for size in sizes]
    halves = name == "chunk" or all(c is not None and _same(labels, c, whole) for c in counts)
    if halves and name != "unbind" and len({part.shape[axis] for part in parts}) == 1:
        for part in parts[1:]:
            labels.tie(parts[0], part)
    elif name.startswith("split"):
        for part, count in zip(parts, counts, strict=True):
            _agree(labels, line(part, axis), count)
    else:
        labels.protect(x)
    return parts


def _same(labels: Propagation, a: Tensor, b: Tensor) -> bool:
    """Whether as many channels are left of one as of the other, whatever goes: they are the same, in any order."""
    return a.shape == b.shape and torch.equal(labels.canonical(a).sort().values, labels.canonical(b).sort().values)


def _agree(labels: Propagation, channels: Tensor, count: Tensor | None) -> None:
    """Channels whose number the code gives: as a count of others, with which they go together, or as a number."""
    if count is not None and count.shape == channels.shape:
        labels.tie(channels, count)
        return
    labels.protect(channels)
    if count is not None:
        labels.protect(count)


def aligned_getitem(labels: Propagation, call: Call) -> Any:
    """Indexing: slices of space are free; along channels only `[k::step]` over whole blocks is."""
    x = call.tensor()
    if call.name != "getitem":  # narrow and select
        if labels.varies(x, call.argument(1, "dim")):
            labels.protect(x)
        return call.native()
    index = call.args[1]
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(i, Tensor) for i in index):
        return labels.mix(call)
    if any(isinstance(i, list) for i in index):
        labels.protect(x)
        return call.native()
    used = sum(i is not None and i is not Ellipsis for i in index)
    axis = 0
    for i in index:
        if i is Ellipsis:
            axis += x.dim() - used
        elif i is not None:
            if i != slice(None) and labels.varies(x, axis):
                _align_index(labels, x, axis, i)
            axis += 1
    return call.native()


def _align_index(labels: Propagation, x: Tensor, axis: int, index: Any) -> None:
    size = x.shape[axis]
    if isinstance(index, slice) and index.stop is None and index.step:
        start, step = index.start or 0, index.step
        if 0 <= start < step and size % step == 0:
            labels.tie_along(split_axis(x, axis, step), axis + 1)
            return
    labels.protect(x)


def aligned_view(labels: Propagation, call: Call) -> Any:
    """`view` and `reshape`: a split channel axis is tied along the factors that the code holds as numbers."""
    x = call.tensor()
    out: Tensor = call.native()
    written = _written(call, x)
    if len(written) != out.dim():  # view(dtype)
        labels.protect(x)
        return out
    for sources, targets in _matching_axes(x.shape, out.shape):
        if any(labels.varies(x, axis) for axis in sources):
            _align_run(labels, x, out, written, sources, targets)
    return out


def _align_run(
    labels: Propagation, x: Tensor, out: Tensor, written: tuple[Any, ...], sources: list[int], targets: list[int]
) -> None:
    """Axes of which one holds channels become others."""
    counts = {t: labels.counted(written[t]) for t in targets}
    free = [t for t in targets if counts[t] is not None or (isinstance(written[t], int) and int(written[t]) == -1)]
    fixed = [t for t in targets if t not in free]
    for t, count in counts.items():
        if count is None:
            continue
        if count.shape == out.shape[t : t + 1]:
            if not _same(labels, count, line(out, t)):  # a shuffle gives all that were counted, in another order
                labels.tie(line(out, t), count)
        elif len(sources) > 1 or not _same(labels, count, line(x, sources[0])):
            _agree(labels, line(x, sources[0]), count)  # ties what it is a part of, or protects both
            if count.shape != x.shape[sources[0] : sources[0] + 1]:
                labels.protect(x)
    if len(free) != 1 or (fixed and len(sources) > 1):
        labels.protect(x)
        return
    for axis in fixed:
        labels.tie_along(out, axis)


def aligned_expand(labels: Propagation, call: Call) -> Any:
    """`expand`: a channel axis whose length is a number must keep it. `repeat` just repeats."""
    x = call.tensor()
    out: Tensor = call.native()
    if call.name == "expand_as":
        if any(labels.varies(x, axis) for axis in range(x.dim())):
            labels.tie(out, call.argument(1, "other"))
        return out
    if call.name == "repeat":
        return out
    for axis, size in zip(range(-x.dim(), 0), _written(call, x)[-x.dim() :], strict=True):
        if size != -1 and labels.varies(x, axis):
            _agree(labels, line(x, axis), labels.counted(size))
        elif size != -1 and (count := labels.counted(size)) is not None:
            labels.protect(count)
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
