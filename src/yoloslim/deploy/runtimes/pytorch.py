"""PyTorch runs model files as they are."""

from collections.abc import Callable
from pathlib import Path

from yoloslim.choices import Precision
from yoloslim.deploy.runtimes.base import Runtime
from yoloslim.evaluation.predictor.base import GraphDescription, Predictor


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    from yoloslim.evaluation.predictor.pytorch import TorchPredictor  # PyTorch takes two seconds to import
    from yoloslim.models.store import load_model

    predictor = TorchPredictor(load_model(file), precision=precision)
    if threads:
        predictor.set_threads(threads)
    return predictor


PYTORCH = Runtime("pytorch", (".safetensors",), _open, precisions=("fp32", "bf16"))
