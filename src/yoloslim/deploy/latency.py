"""Latency of a model, and of each of its convolutions, on a named runtime: what a cut would really save.

Pruning without a latency in mind imports this file, too, so runtimes are imported where they are used.
"""

import io
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from yoloslim.choices import LatencyRuntime
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.evaluation.speed import measure_latency
from yoloslim.models.detector import Detector


def latency_ms(model: Detector, runtime: LatencyRuntime, threads: int, repeats: int = 30) -> float:
    """Median milliseconds an image, batch 1.

    Args:
        model: exported to a temporary folder first where the runtime needs it.
        runtime: what runs it, on the CPU.
        threads: CPU threads.
        repeats: timed calls.

    Raises:
        DeployError: the export failed.
    """
    if runtime == "pytorch":
        return measure_latency(TorchPredictor(model), repeats=repeats, threads=threads)["latency_ms"]
    from yoloslim.deploy.export_model import export_model
    from yoloslim.evaluation.predictor import OnnxPredictor

    with tempfile.TemporaryDirectory() as folder:
        manifest = export_model(model, Path(folder))
        predictor = OnnxPredictor(Path(folder) / manifest.file, manifest, threads)
        return measure_latency(predictor, repeats=repeats)["latency_ms"]


def layer_latencies_ms(model: Detector, runtime: LatencyRuntime, threads: int, repeats: int = 20) -> dict[str, float]:
    """Milliseconds of each convolution by itself, batch 1, at the sizes it has inside the network.

    Args:
        model: on the CPU; unchanged.
        runtime: what runs the convolutions.
        threads: CPU threads.
        repeats: rounds over all convolutions; the fastest call of each counts, being the least disturbed.

    Returns:
        Module path -> milliseconds, for `prune(layer_costs=...)`.
    """
    convolutions = {path: module for path, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    inputs = inputs_of(model, convolutions)
    open_layer = _open_torch if runtime == "pytorch" else _open_onnx
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        calls = {path: open_layer(module, inputs[path], threads) for path, module in convolutions.items()}
        best = dict.fromkeys(calls, float("inf"))
        for _ in range(repeats):
            for path, call in calls.items():
                start = time.perf_counter()
                call()
                best[path] = min(best[path], (time.perf_counter() - start) * 1000)
    finally:
        torch.set_num_threads(before)
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


def _open_torch(layer: nn.Conv2d, x: Tensor, threads: int) -> Callable[[], object]:
    def call() -> Tensor:
        with torch.inference_mode():
            return layer(x)  # type: ignore[no-any-return]

    return call


def _open_onnx(layer: nn.Conv2d, x: Tensor, threads: int) -> Callable[[], object]:
    from yoloslim.evaluation.predictor.onnxruntime import open_session

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo=False is deprecated; the new exporter is ten times slower
        torch.onnx.export(layer, (x.clone(),), buffer, dynamo=False, input_names=["x"])  # type: ignore[arg-type]
    session = open_session(buffer.getvalue(), threads)
    feed = {"x": np.ascontiguousarray(x.numpy())}
    return lambda: session.run(None, feed)
