"""Latency of a model on a named runtime, for searches that ask what a cut would really save."""

import tempfile
from pathlib import Path
from typing import Literal

from yoloslim.deploy.onnx import export_onnx
from yoloslim.evaluation.predictor import OnnxPredictor, TorchPredictor
from yoloslim.evaluation.speed import measure_latency
from yoloslim.models.detector import Detector

Runtime = Literal["onnxruntime", "pytorch"]


def latency_ms(model: Detector, runtime: Runtime, threads: int, repeats: int = 30) -> float:
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
    with tempfile.TemporaryDirectory() as folder:
        manifest = export_onnx(model, Path(folder))
        predictor = OnnxPredictor(Path(folder) / manifest.onnx, manifest, threads)
        return measure_latency(predictor, repeats=repeats)["latency_ms"]
