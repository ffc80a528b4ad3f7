"""TensorRT on the GPU at hand, dense and pruned YOLOv5s (or `--model`): `python -m benchmarks.tensorrt`.

Engines at fp32, fp16 and int8 of the networks of `benchmarks.pruning`, weights seeded, 512 px, one image and 32 a call,
image bytes in and raw heads out, all in turn. Each line ends with the verdict on pruning at that precision and batch.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tests.pruning.recipe import seed_batchnorms

from benchmarks.latency import in_turn
from benchmarks.pruning import IMGSZ, REQUESTS, pruned
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import quantize
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.predictor import Predictor
from yoloslim.evaluation.predictor.tensorrt import tensorrt
from yoloslim.models.detector import Detector, build_detector

BATCHES = (1, 32)
PRECISIONS = ("fp32", "fp16", "int8")
PAYS = 1.05
"""Times as fast as the dense network, below which pruning is not worth its accuracy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolov5s")
    parser.add_argument("--rounds", type=int, default=100, help="timed calls of each")
    a = parser.parse_args()
    version = tensorrt().__version__
    dense = build_detector(a.model, tuple(str(i) for i in range(20)), imgsz=IMGSZ).eval()
    seed_batchnorms(dense)
    small = pruned(dense, REQUESTS["coupled 50 round 16"])
    noise = np.random.default_rng(0).integers(0, 256, (max(BATCHES), IMGSZ, IMGSZ, 3), dtype=np.uint8)
    print(f"{a.model}, {IMGSZ} px, TensorRT {version}, {torch.cuda.get_device_name()}\n")
    print("| precision | images a call | dense, median ms (p10-p90) | half the channels | times as fast | pruning |")
    print("|:--|--:|--:|--:|--:|:--|")
    with tempfile.TemporaryDirectory() as folder:
        both = [engines(network, Path(folder) / name, noise) for name, network in (("dense", dense), ("small", small))]
        for precision in PRECISIONS:
            for batch in BATCHES:
                calls = [partial(found[precision, batch].predict, noise[:batch]) for found in both]
                before, after = in_turn({"dense": calls[0], "small": calls[1]}, a.rounds).values()
                spreads = [f"{ms.median_ms:.2f} ({ms.p10_ms:.2f}-{ms.p90_ms:.2f})" for ms in (before, after)]
                verdict = "pays" if after.speedup >= PAYS else "does not pay here"
                cells = (precision, batch, *spreads, f"{after.speedup:.2f}", verdict)
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


def engines(network: Detector, folder: Path, images: np.ndarray) -> dict[tuple[str, int], Predictor]:
    """A network's engines, by precision and images a call: of one image, and of an open batch."""
    found: dict[tuple[str, int], Predictor] = {}
    for batch in BATCHES:
        options, at = ExportOptions(batch=1 if batch == 1 else 0), folder / str(batch)
        export_model(network, at / "onnx", options)
        export_model(network, at / "fp32", options, "tensorrt")
        export_model(network, at / "fp16", options, "tensorrt", "fp16")
        quantize(at / "onnx", images, at / "int8", "tensorrt")
        found |= {(precision, batch): open_predictor(at / precision) for precision in PRECISIONS}
    return found


if __name__ == "__main__":
    main()
