"""YOLOv5s at 640 px, dense and pruned by half, through Rockchip's compiler: `python -m benchmarks.rockchip`, a minute.

Seeded weights of `benchmarks.pruning`; size, memory, foreseen cycles and the compiler's time depend on shapes alone.
The compiler's memory is the most that its process held. Needs `yoloslim toolchain install rockchip`.
"""

import argparse
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tests.pruning.recipe import seed_batchnorms

from benchmarks.pruning import REQUESTS, pruned
from yoloslim.choices import RknnPrecision
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.rockchip.compilation import RknnOptions, RknnResult, compile_rknn
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
    print("| network | precision | .rknn, MB | weights, MiB | between layers, MiB | cycles, M | s to compile | GB |")
    print("|:--|:--|--:|--:|--:|--:|--:|--:|")
    for name, network in {"dense": dense, "pruned": pruned(dense, REQUESTS["coupled 50 round 16"])}.items():
        with tempfile.TemporaryDirectory() as folder:
            export_model(network, Path(folder) / "export")
            for precision in PRECISIONS:
                with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:  # whose only child is the compiler
                    done, gb = pool.submit(_compile, folder, RknnOptions(a.chip, precision)).result()
                cycles = sum(layer["cycles"] for layer in done.layers) / 1e6
                memory = f"{done.weight_kb / 1024:.2f} | {done.internal_kb / 1024:.2f}"
                numbers = f"{done.size_mb:.2f} | {memory} | {cycles:.2f} | {done.compile_s:.1f} | {gb:.2f}"
                print(f"| {name}, {count_params(network) / 1e6:.2f} M | {precision} | {numbers} |", flush=True)


def _compile(folder: str, options: RknnOptions) -> tuple[RknnResult, float]:
    """What came of compiling the export in `folder`, and the compiler's most memory, 1e9 bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (IMAGES, IMGSZ, IMGSZ, 3), dtype=np.uint8)
    done = compile_rknn(Path(folder) / "export", Path(folder) / options.precision, options, noise)
    return done, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
