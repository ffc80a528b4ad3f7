"""How much accuracy differs between the same training with several seeds; apart, since it needs no training to run."""

from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from yoloslim.config import Params
from yoloslim.data.evalset import EvalSet
from yoloslim.models.store import load_model
from yoloslim.stages.common import REPEATS
from yoloslim.stages.known import evaluating
from yoloslim.stages.measuring import evaluate_model

MEASURED = ("map50", "map50_95")


def measure_repeats(params: Params, folder: Path, first: dict[str, Any], images: EvalSet) -> dict[str, Any]:
    """Mean and spread over the repeats of a model; nothing where it was trained once.

    Args:
        params: all sections.
        folder: of the model.
        first: its own metrics.
        images: to measure the others on.

    Returns:
        `repeats`, how many; and for `map50` and `map50_95`: `<name>_mean`, `<name>_std` (of the sample, n - 1), and
        `<name>_values`, the model's own first.
    """
    files = sorted((folder / REPEATS).glob("*.safetensors"), key=lambda file: int(file.stem))
    if not files:
        return {}
    found: dict[str, Any] = {"repeats": 1 + len(files)}
    others = (evaluate_model(params, load_model(file), images, evaluating(params, "torch", [file])) for file in files)
    all_metrics = [first, *(evaluation.metrics for evaluation in others)]
    for name in MEASURED:
        values = [float(metrics[name]) for metrics in all_metrics]
        found |= {f"{name}_mean": fmean(values), f"{name}_std": stdev(values), f"{name}_values": values}
    return found
