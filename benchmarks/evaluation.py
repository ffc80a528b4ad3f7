"""`yoloslim eval` against a training's validation: `python -m benchmarks.evaluation MODEL ../shared/data/bccd.tar`.

Validation has its images decoded and resized in the store that training uses; `eval` reads annotations, decodes and
resizes every time. Both end with the metrics. They take turns; medians, images/s, CPU time an image, and the largest
difference between the metrics of the same runtime. What starting takes counts for neither.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoloslim.choices import Precision
from yoloslim.config import DataParams
from yoloslim.cores import usable_cores
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import load_split
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.evaluate import Evaluation, evaluate
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.models.foreign.load import read_model
from yoloslim.tasks.evaluate_dataset import evaluate_dataset

Precise = tuple[str, Path, str, Precision]


def runtimes(model: Path, folder: Path) -> list[Precise]:
    """Name, file, runtime and precision of all that take several images at a time."""
    export_model(read_model(model), folder / "onnx", ExportOptions(batch=0))
    graph = folder / "onnx"
    return [
        ("PyTorch", model, "pytorch", "fp32"),
        ("PyTorch, bf16", model, "pytorch", "bf16"),
        ("ONNX Runtime", graph, "onnxruntime", "fp32"),
        ("OpenVINO", graph, "openvino", "fp32"),
    ]


def difference(one: Evaluation, other: Evaluation) -> float:
    """The largest of all metrics, of the means and by class."""
    pairs = [(one.metrics, other.metrics), *((one.per_class[k], other.per_class[k]) for k in one.per_class)]
    return max(abs(a[key] - b[key]) for a, b in pairs for key in a)


def compare(way: Precise, prepared: Path, image_set: str, cache: Path, rounds: int) -> tuple[Any, Any, float]:
    """Seconds, and CPU seconds, an image of validation and of `eval`, and how far their metrics are apart."""
    _, file, runtime, precision = way
    predictor = open_predictor(file, runtime, None, precision)
    images = load_eval_set(load_split(prepared, image_set), predictor.imgsz, cache)
    kept: dict[str, Evaluation] = {}

    inference = PredictorInference(open_predictor(file, runtime, None, precision), NmsOptions())
    jobs: dict[str, Callable[[], Evaluation]] = {
        "validation": lambda: evaluate(predictor, images),
        "eval": lambda: evaluate_dataset(inference, prepared, image_set),
    }

    def timed(name: str) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        torch.set_num_threads(usable_cores())
        kept[name] = jobs[name]()
        return time.perf_counter() - wall, time.process_time() - cpu

    found = np.array([[timed(name) for name in jobs] for _ in range(rounds + 1)])[1:] / len(images)
    seconds, cpu = np.median(found, axis=0).T
    return seconds, cpu, difference(kept["validation"], kept["eval"])


def main() -> None:
    """Measure and print one row a runtime."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model file that was trained on the set")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--set", default="test", help="the images")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(DataParams(source="auto", path=str(arguments.pack)), folder / "voc")
        print("| runtime | validation | eval | eval / validation | CPU ms an image | metrics differ by |")
        print("|:--|--:|--:|--:|--:|--:|", flush=True)
        for way in runtimes(arguments.model, folder):
            seconds, cpu, apart = compare(way, folder / "voc", arguments.set, folder / "cache", arguments.rounds)
            print(
                f"| {way[0]} | {1 / seconds[0]:.0f} | {1 / seconds[1]:.0f} | {seconds[0] / seconds[1]:.2f} "
                f"| {1e3 * cpu[0]:.1f}, {1e3 * cpu[1]:.1f} | {apart:.0e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
