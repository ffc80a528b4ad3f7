"""int8 with the ranges of its training against calibrated ones: `python -m benchmarks.trained_ranges MODEL DATA`.

A minute. MODEL is a model.safetensors of `finetune.quantize: true` with `ranges.json` beside it, DATA a folder in VOC
layout. The same weights, calibrated on 128 training images where they must be. Calls in turn, batch 1, from image bytes
to raw heads.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.latency import in_turn
from yoloslim import ranges
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.voc import load_split
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import quantize
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.predictor import Predictor
from yoloslim.models.store import load_model

RUNTIMES = ("onnxruntime", "openvino")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=500, help="timed calls of each")
    parser.add_argument("--threads", type=int, default=1, help="threads of every runtime")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = _calibration(a.model, a.data, Path(folder))
        predictors = _predictors(a.model, images, Path(folder), a.threads)
        calls: dict[str, Callable[[], object]] = {n: partial(p.predict, images[:1]) for n, p in predictors.items()}
        times = in_turn(calls, a.rounds, warmup=20)
    print("| runtime | version | median ms (p10-p90) |\n|:--|:--|--:|")
    for name, ms in times.items():
        print(f"| {name} | {ms.median_ms:.2f} ({ms.p10_ms:.2f}-{ms.p90_ms:.2f}) |")
    for runtime in RUNTIMES:
        calibrated, trained = (times[f"{runtime} | int8, ranges {way}"] for way in ("calibrated", "of the training"))
        print(f"\n{runtime}: ranges of the training {trained.speedup / calibrated.speedup:.3f} times as fast")


def _calibration(model: Path, data: Path, folder: Path) -> np.ndarray:
    train = load_eval_set(load_split(data, "train"), load_model(model).spec.imgsz, folder / "cache")
    return train.images[np.random.default_rng(0).permutation(len(train))[:128]]


def _predictors(path: Path, images: np.ndarray, folder: Path, threads: int) -> dict[str, Predictor]:
    model, trained = load_model(path), ranges.load(path)
    if not trained:
        raise SystemExit(f"{path} has no ranges.json beside it; finetune with finetune.quantize=true")
    export_model(model, folder / "calibrated")
    export_model(model, folder / "of the training", ranges=trained)
    found = {"onnxruntime | fp32": open_predictor(folder / "calibrated", threads=threads)}
    for runtime in RUNTIMES:
        for way in ("calibrated", "of the training"):
            quantize(folder / way, images, folder / f"{runtime} {way}", runtime)
            found[f"{runtime} | int8, ranges {way}"] = open_predictor(folder / f"{runtime} {way}", threads=threads)
    return found


if __name__ == "__main__":
    main()
