"""What a model costs. A module of its own: how speed is measured changes no training, which measures accuracy too."""

from pathlib import Path

from yoloslim.config import Params
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.evaluation.speed import measure_latency
from yoloslim.models.detector import Detector, count_macs, count_params
from yoloslim.stages.common import timing_threads
from yoloslim.stages.speeds import Speed, known_speed


def measure_cost(params: Params, model: Detector, file: Path | None = None) -> dict[str, float | str]:
    """What a model costs: params_m, gflops, and its latency in PyTorch on the CPU; one of a file is timed once."""
    threads = timing_threads(params)

    def timed() -> Speed:
        return {**measure_latency(TorchPredictor(model), threads=threads)}

    return {
        "params_m": count_params(model) / 1e6,
        "gflops": 2e-9 * count_macs(model, params.imgsz),
        **(known_speed(params, "torch", [file], [threads], timed) if file else timed()),
        "backend": "pytorch-cpu",
    }
