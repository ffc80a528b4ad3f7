"""PyTorch runs model files."""

from collections.abc import Callable
from pathlib import Path

from yoloslim.choices import Precision
from yoloslim.deploy.runtimes.base import Runtime
from yoloslim.evaluation.predictor.base import GraphDescription, Predictor


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    from yoloslim.evaluation.predictor.pytorch import TorchPredictor  # PyTorch takes two seconds to import
    from yoloslim.models.foreign.load import read_model

    predictor = TorchPredictor(read_model(file), precision=precision)
    if threads:
        predictor.set_threads(threads)
    return predictor


SUFFIXES = (".safetensors", ".pt", ".pth", ".weights", ".cfg")
"""Model files, and those of other programs, which are imported on the way."""

PYTORCH = Runtime("pytorch", SUFFIXES, _open, precisions=("fp32", "bf16"))
