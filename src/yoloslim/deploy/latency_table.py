"""Latency of a network as a function of its widths: what each layer takes at each number of channels, measured once.

A network's time is close to the sum of its convolutions' times, each with the activation behind it, plus what all
the rest takes. A convolution's time hardly depends on its weights and jumps where a runtime's vectors are full, so each
distinct shape is timed on a grid of (channels in, channels out) and read off between the points of the grid.

A layer that is run by itself is also called by itself, and brings its tensors into the runtime's own order of channels
and back, which takes longer than a small convolution, and which a network does at its ends alone. What that costs a
call and a value is measured too, by layers run once and twice in a row, and taken off.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from yoloslim.choices import LatencyRuntime
from yoloslim.deploy.latency import inputs_of
from yoloslim.deploy.layer_calls import Call, open_layers, this_machine
from yoloslim.errors import PruneError, YoloslimError
from yoloslim.files import read_json, user_cache, write_json
from yoloslim.models.detector import Detector
from yoloslim.torch_threads import torch_threads

logger = logging.getLogger(__name__)

POINTS = 5
"""Widths that a layer is timed at on each side, from its own down in equal steps."""
REPEATS = 30
EXCHANGES = ((8, 4), (32, 40))
"""Channels and side, px, of the layers that tell what a call, and bringing tensors in and out, costs."""
METHOD = 2
"""Goes up where tables are measured another way than before: older ones are not read."""
LEAST = 0.05
"""Share of what was measured that a layer takes at least, whatever is taken off."""
Floats = NDArray[np.float64]
Grid = tuple[Floats, Floats, Floats]
"""Widths in, widths out, and milliseconds (in, out)."""


@dataclass(frozen=True)
class Shape:
    """What a convolution's time depends on besides its channels.

    Attributes:
        kernel, stride, padding: of the convolution, rows and columns.
        depthwise: whether every channel is convolved by itself.
        rows, columns: of its input, px.
        c_in, c_out: the most channels that any layer of this shape has.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    depthwise: bool
    rows: int
    columns: int
    c_in: int
    c_out: int


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of every convolution of a network by its widths.

    Attributes:
        machine: processor, runtime and its version, threads: a table is of no use anywhere else.
        shapes: the distinct shapes.
        layers: module path -> number of its shape.
        grids: for each shape the widths in, the widths out, and milliseconds (in, out).
        file: where it lies; None where it is kept nowhere.
        seconds: that measuring it took; 0 where it was read.
    """

    machine: Mapping[str, Any]
    shapes: tuple[Shape, ...]
    layers: Mapping[str, int]
    grids: tuple[Grid, ...] = field(repr=False)
    file: Path | None = None
    seconds: float = 0.0

    def layer_ms(self, path: str, c_in: float, c_out: float) -> float:
        """Milliseconds of one layer, between the points of the grid by proportion."""
        widths_in, widths_out, ms = self.grids[self.layers[path]]
        i, u = _place(widths_in, c_in)
        j, v = _place(widths_out, c_out)
        low = ms[i, j] * (1 - u) + ms[min(i + 1, len(widths_in) - 1), j] * u
        k = min(j + 1, len(widths_out) - 1)
        high = ms[i, k] * (1 - u) + ms[min(i + 1, len(widths_in) - 1), k] * u
        return float(max(low * (1 - v) + high * v, 0.0))


def _place(widths: Floats, wanted: float) -> tuple[int, float]:
    """The interval of an ascending list that a number lies in, and where in it, from 0 to 1."""
    if len(widths) == 1:
        return 0, 0.0
    i = int(np.clip(np.searchsorted(widths, wanted, side="right") - 1, 0, len(widths) - 2))
    return i, float(np.clip((wanted - widths[i]) / (widths[i + 1] - widths[i]), 0, 1))


def tables_folder() -> Path:
    """Where tables are kept: the user's cache, since they are the machine's and no project's."""
    return user_cache("latency")


def latency_table(
    model: Detector,
    threads: int,
    step: int = 8,
    cache: Path | None = None,
    runtime: LatencyRuntime = "onnxruntime",
    given: Path | None = None,
) -> LatencyTable:
    """Measure a network's layers, or read what was measured on this very machine, runtime and version before.

    Args:
        model: on the CPU; unchanged. Its widths are the most that are timed.
        threads: of the runtime.
        step: widths on the grid are multiples of this, as far as a layer has as many.
        cache: folder of tables; None keeps none.
        runtime: what runs the layers.
        given: a table to take, as one was written to `cache`; nothing is measured then.

    Raises:
        DeployError: the runtime is not installed.
        PruneError: the given table is none, or of another machine, runtime, version, number of threads or network.
    """
    machine = this_machine(threads, runtime)
    shapes, layers = shapes_of(model)
    if given:
        return LatencyTable(machine, shapes, layers, _given(given, machine, shapes), given)
    file = cache / f"latency-{_digest([METHOD, machine, [asdict(s) for s in shapes], step])}.json" if cache else None
    if file and file.is_file() and (known := _known(file, shapes)):
        return LatencyTable(machine, shapes, layers, known, file)
    begin = time.perf_counter()
    grids = _measure(shapes, step, threads, runtime)
    seconds = time.perf_counter() - begin
    if file:
        plain = [[part.tolist() for part in grid] for grid in grids]
        write_json(file, {"machine": machine, "shapes": [asdict(s) for s in shapes], "grids": plain})
    return LatencyTable(machine, shapes, layers, grids, file, seconds)


def _known(file: Path, shapes: tuple[Shape, ...]) -> tuple[Grid, ...]:
    """A table that is kept, nothing of one that is damaged: that is measured anew."""
    try:
        return _grids(read_json(file), shapes)
    except (YoloslimError, KeyError, TypeError, ValueError) as error:
        logger.warning("table of latencies %s is damaged (%s): measured anew", file, error)
        return ()


def _grids(stored: Any, shapes: tuple[Shape, ...]) -> tuple[Grid, ...]:
    """The grids of a stored table, one for each shape.

    Raises:
        KeyError, TypeError, ValueError: they are no such grids.
    """
    grids = tuple(
        (np.array(a, np.float64), np.array(b, np.float64), np.array(c, np.float64)) for a, b, c in stored["grids"]
    )
    if len(grids) != len(shapes):
        raise ValueError(f"{len(grids)} grids for {len(shapes)} shapes of layers")
    for ins, outs, ms in grids:
        rising = all(side.ndim == 1 and side.size and (np.diff(side) > 0).all() for side in (ins, outs))
        if not rising or ms.shape != (len(ins), len(outs)):
            raise ValueError("its times do not fit its widths")
        if not (np.isfinite(ms).all() and (ms > 0).all()):
            raise ValueError("it has times that are none")
    return grids


def _given(file: Path, machine: Mapping[str, Any], shapes: tuple[Shape, ...]) -> tuple[Grid, ...]:
    """A table that was named: refused where it tells nothing of this machine and network."""
    leave_out = "without latency_table one is measured here and kept"
    if not file.is_file():
        raise PruneError(f"latency_table {file} is missing; {leave_out}")
    try:
        stored = read_json(file)
        theirs = dict(stored["machine"])
        same = stored["shapes"] == json.loads(json.dumps([asdict(shape) for shape in shapes]))
    except (YoloslimError, KeyError, TypeError, ValueError) as error:
        why = error if isinstance(error, YoloslimError) else repr(error)
        raise PruneError(f"latency_table {file} is no table of latencies: {why}; {leave_out}") from error
    other = [f"{key} {theirs.get(key)!r}, not {machine[key]!r}" for key in machine if theirs.get(key) != machine[key]]
    if other:
        raise PruneError(f"latency_table {file} is of another machine: {'; '.join(other)}; {leave_out}")
    if not same:
        raise PruneError(f"latency_table {file} is of another network or image size; {leave_out}")
    try:
        return _grids(stored, shapes)
    except (KeyError, TypeError, ValueError) as error:
        raise PruneError(f"latency_table {file} is damaged: {error}; {leave_out}") from error


def shapes_of(model: Detector) -> tuple[tuple[Shape, ...], dict[str, int]]:
    """The distinct shapes of a network's convolutions at its image size, and which layer has which."""
    convolutions = {path: m for path, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    seen = {path: (x.shape[2], x.shape[3]) for path, x in inputs_of(model, convolutions).items()}
    kinds: dict[tuple[tuple[int, int], tuple[int, int], tuple[int, int], bool, int, int], list[str]] = {}
    for path, (rows, columns) in seen.items():
        m = convolutions[path]
        depthwise = m.groups > 1 and m.groups == m.in_channels
        kernel, stride, padding = (cast(tuple[int, int], v) for v in (m.kernel_size, m.stride, m.padding))
        kinds.setdefault((kernel, stride, padding, depthwise, rows, columns), []).append(path)
    shapes: list[Shape] = []
    layers: dict[str, int] = {}
    for number, (kind, paths) in enumerate(kinds.items()):
        widest_in = max(convolutions[p].in_channels for p in paths)
        shapes.append(Shape(*kind, widest_in, max(convolutions[p].out_channels for p in paths)))
        layers |= dict.fromkeys(paths, number)
    return tuple(shapes), layers


def _measure(shapes: tuple[Shape, ...], step: int, threads: int, runtime: LatencyRuntime) -> tuple[Grid, ...]:
    """Time every shape at every point, shape by shape: the fastest call of each counts, being the least disturbed."""
    sides, times, values = [], [], []
    extra = np.full(2 * len(EXCHANGES), np.inf)
    with torch_threads(threads):
        for shape in shapes:
            outs = _widths(shape.c_out, step)
            ins = outs if shape.depthwise else _widths(shape.c_in, step)
            sides.append((ins, outs))
            points = [(i, o) for i in ins for o in outs if not shape.depthwise or i == o]
            calls = [_open(shape, int(i), int(o), threads, runtime) for i, o in points]
            calls += [_exchange_call(e, count, threads, runtime) for e in EXCHANGES for count in (1, 2)]
            best = _fastest(calls, threads)
            times.append(best[: len(points)])
            extra = np.minimum(extra, best[len(points) :])
            cells = shape.rows * shape.columns
            values.append(np.array([cells * (i + o / (shape.stride[0] * shape.stride[1])) for i, o in points]))
    a_call, a_value = _exchange(extra)
    grids = []
    for (ins, outs), best, many, shape in zip(sides, times, values, shapes, strict=True):
        left = np.maximum(best - a_call - a_value * many, LEAST * best)
        table = np.repeat(left[None], len(ins), 0) if shape.depthwise else left.reshape(len(ins), len(outs))
        table = np.maximum.accumulate(np.maximum.accumulate(table, 0), 1)  # more channels never take less: noise does
        grids.append((ins, outs, table))
    return tuple(grids)


def _exchange(extra: Floats) -> tuple[float, float]:
    """Milliseconds of a call, and of each value that it brings in and out, from EXCHANGES run once and twice in a row.

    What a layer takes that is run once, less what a second one adds, is neither's own.
    """
    small, large = (max(2 * once - twice, 0.0) for once, twice in extra.reshape(-1, 2))
    few, many = (2 * channels * side**2 for channels, side in EXCHANGES)
    a_value = max(large - small, 0.0) / (many - few)
    return max(small - a_value * few, 0.0), a_value


def _fastest(calls: list[Call], threads: int) -> Floats:
    """Milliseconds of each call's fastest repeat, all in turn.

    With one thread what counts is the time that the thread computes, which programs beside it do not change.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    best = np.full(len(calls), np.inf)
    for _ in range(REPEATS):
        for number, call in enumerate(calls):
            call()  # as in use, the timed call finds its weights in the cache
            start = clock()
            call()
            best[number] = min(best[number], (clock() - start) * 1000)
    return best


def _exchange_call(exchange: tuple[int, int], count: int, threads: int, runtime: LatencyRuntime) -> Call:
    """A layer of so many channels on so many pixels, run `count` times in a row."""
    channels, side = exchange
    layers = [nn.Conv2d(channels, channels, 1) for _ in range(count)]
    return open_layers(layers, torch.zeros(1, channels, side, side), runtime, threads)


def _widths(most: int, step: int) -> Floats:
    """Up to POINTS multiples of a step from one to the most, ascending."""
    if most <= step:
        return np.array([float(most)])
    counts = np.unique(np.round(np.linspace(1, most // step, POINTS))).astype(int) * step
    return np.unique([*counts, most]).astype(np.float64)


def _open(shape: Shape, c_in: int, c_out: int, threads: int, runtime: LatencyRuntime) -> Call:
    groups = c_in if shape.depthwise else 1
    layer = nn.Conv2d(c_in, c_out, shape.kernel, shape.stride, shape.padding, groups=groups)
    return open_layers([layer], torch.zeros(1, c_in, shape.rows, shape.columns), runtime, threads)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
