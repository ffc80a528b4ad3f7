"""YOLOv5s at 640 px, dense and pruned by half, through Rockchip's compiler: `python -m benchmarks.rockchip`, a minute.

Seeded weights of `benchmarks.pruning`; size, memory, foreseen cycles and the compiler's time depend on shapes alone.
Needs `yoloslim toolchain install rockchip`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from tests.pruning.recipe import seed_batchnorms

from benchmarks.pruning import REQUESTS, pruned
from yoloslim.choices import RknnPrecision
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.rockchip.compilation import RknnOptions, compile_rknn
from yoloslim.models.detector import build_detector, count_params

IMGSZ, IMAGES = 640, 16
PRECISIONS: tuple[RknnPrecision, ...] = ("fp16", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolov5s")
    parser.add_argument("--chip", default="rk3588")
    a = parser.parse_args()
    dense = build_detector(a.model, tuple(str(i) for i in range(20)), imgsz=IMGSZ).eval()
    seed_batchnorms(dense)
    noise = np.random.default_rng(0).integers(0, 256, (IMAGES, IMGSZ, IMGSZ, 3), dtype=np.uint8)
    print("| network | precision | .rknn, MB | weights, MiB | between layers, MiB | cycles, M | s to compile |")
    print("|:--|:--|--:|--:|--:|--:|--:|")
    for name, network in {"dense": dense, "pruned": pruned(dense, REQUESTS["coupled 50 round 16"])}.items():
        with tempfile.TemporaryDirectory() as folder:
            export_model(network, Path(folder) / "export")
            for precision in PRECISIONS:
                options = RknnOptions(a.chip, precision)
                done = compile_rknn(Path(folder) / "export", Path(folder) / precision, options, noise)
                cycles = sum(layer["cycles"] for layer in done.layers) / 1e6
                memory = f"{done.weight_kb / 1024:.2f} | {done.internal_kb / 1024:.2f}"
                numbers = f"{done.size_mb:.2f} | {memory} | {cycles:.2f} | {done.compile_s:.0f}"
                print(f"| {name}, {count_params(network) / 1e6:.2f} M | {precision} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
