"""Latency of a network as a function of its widths: what each layer takes at each number of channels, measured once.

A network's time is close to the sum of its convolutions' times, each with the activation behind it, plus what all
the rest takes. A convolution's time hardly depends on its weights and jumps where a runtime's vectors are full, so each
distinct shape is timed on a grid of (channels in, channels out) and read off between the points of the grid.

A layer that is run by itself also brings its tensors into the runtime's own order of channels and back, which takes
longer than a small convolution, and which a network does at its ends alone. What that costs a value is measured too,
by a layer run once and twice in a row, and taken off.
"""

import io
import json
import platform
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from yoloslim.deploy.latency import inputs_of
from yoloslim.evaluation.predictor.onnxruntime import open_session
from yoloslim.files import read_json, write_json
from yoloslim.models.detector import Detector

POINTS = 5
"""Widths that a layer is timed at on each side, from its own down in equal steps."""
REPEATS = 15
EXCHANGE = (32, 40)
"""Channels and side, px, of the layer that tells what bringing tensors in and out costs."""
LEAST = 0.05
"""Share of what was measured that a layer takes at least, whatever is taken off."""
Floats = NDArray[np.float64]


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
    """

    machine: Mapping[str, Any]
    shapes: tuple[Shape, ...]
    layers: Mapping[str, int]
    grids: tuple[tuple[Floats, Floats, Floats], ...] = field(repr=False)

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


def latency_table(model: Detector, threads: int, step: int = 8, cache: Path | None = None) -> LatencyTable:
    """Measure a network's layers in ONNX Runtime, or read what was measured on this very machine before.

    Args:
        model: on the CPU; unchanged. Its widths are the most that are timed.
        threads: of the runtime.
        step: widths on the grid are multiples of this, as far as a layer has as many.
        cache: folder of tables; None keeps none.
    """
    machine = this_machine(threads)
    shapes, layers = shapes_of(model)
    path = cache / f"latency-{_digest([machine, [asdict(s) for s in shapes], step])}.json" if cache else None
    if path and path.is_file():
        grids = tuple((np.array(a), np.array(b), np.array(c)) for a, b, c in read_json(path)["grids"])
        return LatencyTable(machine, shapes, layers, grids)
    grids = _measure(shapes, step, threads)
    if path:
        plain = [[part.tolist() for part in grid] for grid in grids]
        write_json(path, {"machine": machine, "shapes": [asdict(s) for s in shapes], "grids": plain})
    return LatencyTable(machine, shapes, layers, grids)


def this_machine(threads: int) -> dict[str, Any]:
    """What latencies of this machine are known by."""
    import onnxruntime

    processor = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    return {"processor": processor, "runtime": "onnxruntime", "version": onnxruntime.__version__, "threads": threads}


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


def _measure(shapes: tuple[Shape, ...], step: int, threads: int) -> tuple[tuple[Floats, Floats, Floats], ...]:
    """Time every shape at every point, all in turn: the fastest call of each counts, being the least disturbed."""
    calls: list[Callable[[], object]] = [_exchange_call(count, threads) for count in (1, 2)]
    values = [0.0, 0.0]  # that a call brings in and out
    sides = []
    for shape in shapes:
        ins, outs = _widths(shape.c_in, step), _widths(shape.c_out, step)
        ins = outs if shape.depthwise else ins
        sides.append((ins, outs))
        for c_in in ins:
            for c_out in outs:
                if not shape.depthwise or c_in == c_out:
                    calls.append(_open(shape, int(c_in), int(c_out), threads))
                    cells = shape.rows * shape.columns
                    values.append(cells * (c_in + c_out / (shape.stride[0] * shape.stride[1])))
    best = _fastest(calls, threads)
    channels, side = EXCHANGE
    a_value = max(2 * best[0] - best[1], 0.0) / (2 * channels * side**2)
    best = np.maximum(best - a_value * np.array(values), LEAST * best)
    grids, position = [], 2
    for shape, (ins, outs) in zip(shapes, sides, strict=True):
        if shape.depthwise:
            times = np.repeat(best[position : position + len(outs)][None], len(ins), 0)
            position += len(outs)
        else:
            times = best[position : position + len(ins) * len(outs)].reshape(len(ins), len(outs))
            position += times.size
        times = np.maximum.accumulate(np.maximum.accumulate(times, 0), 1)  # more channels never take less: noise does
        grids.append((ins, outs, times))
    return tuple(grids)


def _fastest(calls: list[Callable[[], object]], threads: int) -> Floats:
    """Milliseconds of each call's fastest repeat.

    With one thread what counts is the time that the thread computes, which programs beside it do not change.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    best = np.full(len(calls), np.inf)
    for call in calls:
        call()
    for _ in range(REPEATS):
        for number, call in enumerate(calls):
            start = clock()
            call()
            best[number] = min(best[number], (clock() - start) * 1000)
    return best


def _exchange_call(count: int, threads: int) -> Callable[[], object]:
    """A small layer, run `count` times in a row."""
    channels, side = EXCHANGE
    layers = [layer for _ in range(count) for layer in (nn.Conv2d(channels, channels, 1), nn.SiLU())]
    return _run(nn.Sequential(*layers), torch.zeros(1, channels, side, side), threads)


def _widths(most: int, step: int) -> Floats:
    """Up to POINTS multiples of a step from one to the most, ascending."""
    if most <= step:
        return np.array([float(most)])
    counts = np.unique(np.round(np.linspace(1, most // step, POINTS))).astype(int) * step
    return np.unique([*counts, most]).astype(np.float64)


def _open(shape: Shape, c_in: int, c_out: int, threads: int) -> Callable[[], object]:
    groups = c_in if shape.depthwise else 1
    layer = nn.Conv2d(c_in, c_out, shape.kernel, shape.stride, shape.padding, groups=groups)
    return _run(nn.Sequential(layer, nn.SiLU()), torch.zeros(1, c_in, shape.rows, shape.columns), threads)


def _run(network: nn.Module, x: torch.Tensor, threads: int) -> Callable[[], object]:
    """A call of a network in ONNX Runtime."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo=False is deprecated; the new exporter is ten times slower
        torch.onnx.export(network.eval(), (x,), buffer, dynamo=False, input_names=["x"])  # type: ignore[arg-type]
    session = open_session(buffer.getvalue(), threads)
    feed = {"x": x.numpy()}
    return lambda: session.run(None, feed)


def _digest(value: Any) -> str:
    import hashlib

    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
