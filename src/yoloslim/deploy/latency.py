"""Latency of a model, and of each of its convolutions, on a named runtime: what a cut would really save.

Pruning without a latency in mind imports this file, too, so runtimes are imported where they are used.
"""

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from yoloslim.choices import LatencyRuntime
from yoloslim.deploy.layer_calls import open_layers, this_machine
from yoloslim.evaluation.predictor.base import Predictor
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.evaluation.speed import measure_in_turn
from yoloslim.models.detector import Detector
from yoloslim.torch_threads import torch_threads


class Clock:
    """Milliseconds of cut networks, each timed in turn with the dense one that they come from.

    On a machine that does other things, too, milliseconds taken a minute apart cannot be compared. So each network is
    timed against the dense one, turn by turn, and its milliseconds are those of the dense one in the first session
    over the speed-up in its own: the ratios hold, whatever the machine does meanwhile. With one thread it is the time
    that the process computes, which other programs change least.

    Attributes:
        dense_ms: of the dense network, median milliseconds an image.
        machine: see `this_machine`.
    """

    def __init__(self, dense: Detector, runtime: LatencyRuntime, threads: int = 1, repeats: int = 30) -> None:
        """Open the dense network, batch 1, and time it.

        Args:
            dense: what others are timed against; unchanged.
            runtime: what runs them, on the CPU.
            threads: CPU threads.
            repeats: turns that count in a session.

        Raises:
            DeployError: the runtime is not installed, or the export failed.
        """
        self.runtime, self.threads, self.repeats = runtime, threads, repeats
        self.machine = this_machine(threads, runtime)
        with _unheard():
            self._dense = open_network(dense, runtime, threads)
        self._clock = time.process_time if threads == 1 else None
        with torch_threads(threads):
            alone = measure_in_turn({"dense": self._dense}, "dense", repeats=repeats, clock=self._clock)
        self.dense_ms = alone["dense"]["latency_ms"]

    def speedup(self, model: Detector, repeats: int | None = None) -> float:
        """How many times as fast as the dense network another is, by so many turns, or the usual number."""
        with _unheard():
            pair = {"dense": self._dense, "cut": open_network(model, self.runtime, self.threads)}
        with torch_threads(self.threads):
            times = measure_in_turn(pair, "dense", repeats=repeats or self.repeats, clock=self._clock)
        return times["cut"]["speedup"]

    def __call__(self, model: Detector) -> float:
        """Milliseconds of a network, against the dense one's; unheard, since it is called for many networks."""
        with _unheard():
            return self.dense_ms / self.speedup(model)


@contextmanager
def _unheard() -> Iterator[None]:
    """Say nothing but errors: of networks on the way nobody wants to know where they were written for a moment."""
    spoken = logging.getLogger("yoloslim")
    before = spoken.level
    spoken.setLevel(logging.ERROR)
    try:
        yield
    finally:
        spoken.setLevel(before)


def open_network(model: Detector, runtime: LatencyRuntime, threads: int) -> Predictor:
    """A network in a runtime on the CPU, by way of a file where it needs one, which is read whole and removed.

    Raises:
        DeployError: the runtime is not installed, or the export failed.
    """
    if runtime == "pytorch":
        return TorchPredictor(model)
    from yoloslim.deploy.export_model import export_model
    from yoloslim.deploy.runtimes import open_predictor, runtime_named

    with tempfile.TemporaryDirectory() as folder:
        export_model(model, Path(folder), file_format=runtime_named(runtime).format)
        return open_predictor(Path(folder), runtime, threads)


def layer_latencies_ms(model: Detector, runtime: LatencyRuntime, threads: int, repeats: int = 20) -> dict[str, float]:
    """Milliseconds of each convolution by itself, batch 1, at the sizes it has inside the network.

    Args:
        model: on the CPU; unchanged.
        runtime: what runs the convolutions.
        threads: CPU threads.
        repeats: rounds over all convolutions; the fastest call of each counts, being the least disturbed.

    Returns:
        Module path -> milliseconds, for `prune(layer_costs=...)`.

    Raises:
        DeployError: the runtime is not installed.
    """
    convolutions = {path: module for path, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    inputs = inputs_of(model, convolutions)
    with torch_threads(threads):
        calls = {
            path: open_layers([module], inputs[path], runtime, threads, activated=False)
            for path, module in convolutions.items()
        }
        best = dict.fromkeys(calls, float("inf"))
        for _ in range(repeats):
            for path, call in calls.items():
                start = time.perf_counter()
                call()
                best[path] = min(best[path], (time.perf_counter() - start) * 1000)
    return best


def inputs_of(model: Detector, layers: dict[str, nn.Conv2d]) -> dict[str, Tensor]:
    """What each layer reads in a forward pass of one random image."""
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, args, path=path: seen.__setitem__(path, args[0].detach().clone()))
        for path, layer in layers.items()
    ]
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()(torch.rand(1, 3, model.spec.imgsz, model.spec.imgsz))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return seen
