"""Small models of all families side by side: `python -m benchmarks.models ../shared/data/bccd.tar --epochs 30`.

Each is trained from scratch on bccd at 320 px with the same recipe and epochs, and measured on test, which doubles as
validation set as in `benchmarks.bccd`. Then all are exported and timed in every runtime that is installed, one call
each in turn. A finished model stays in `--work` and is not trained again; an interrupted training goes on from its
last whole epoch.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.bccd import IMGSZ, prepared, train_model
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.predictor import Predictor
from yoloslim.files import read_json, write_json
from yoloslim.models.detector import count_macs, count_params
from yoloslim.models.store import load_model, save_model

MODELS = ("yolov5n", "yolov5s", "v5Lite-e", "v5Lite-s", "yolov3-tiny", "yolov4-tiny")
FORMATS: dict[str, str] = {"onnxruntime": "onnx", "openvino": "openvino", "ncnn": "ncnn"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, help="bccd.tar")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(".cache/benchmark-models"), help="keeps what is finished")
    parser.add_argument("--rounds", type=int, default=60, help="timed calls of each model")
    parser.add_argument("--threads", type=int, default=2, help="threads of the runtimes")
    arguments = parser.parse_args()
    folders = {name: arguments.work / f"{name}-{arguments.epochs}-{arguments.seed}" for name in MODELS}
    for name, folder in folders.items():
        finish(name, folder, arguments.pack, arguments.epochs, arguments.seed)
    print(table(folders, arguments.rounds, arguments.threads))


def finish(name: str, folder: Path, pack: Path, epochs: int, seed: int, device: str = "auto") -> None:
    """Train, measure and store one model, unless its folder holds it."""
    done, work = folder / "metrics.json", folder.parent
    if not done.is_file():
        start = time.perf_counter()
        root, cache = prepared(pack, work / "data"), work / "cache"
        model, metrics = train_model(name, root, cache, epochs, seed, folder / "checkpoint.pt", device)
        save_model(model, folder / "model.safetensors")
        write_json(done, {**metrics, "minutes": round((time.perf_counter() - start) / 60, 1)})
        (folder / "checkpoint.pt").unlink(missing_ok=True)
        print(f"{name}: map50 {metrics['map50']:.3f} after {epochs} epochs", flush=True)


def table(folders: dict[str, Path], rounds: int, threads: int) -> str:
    """Accuracy, size and latency of the finished models, in Markdown."""
    times = {runtime: latencies(folders, runtime, rounds, threads) for runtime in FORMATS if installed(runtime)}
    lines = [
        f"| model | mAP@0.5 | mAP@0.5:0.95 | parameters | GFLOPs | {' | '.join(f'{r}, ms' for r in times)} |",
        "|:--|--:|--:|--:|--:|" + "--:|" * len(times),
    ]
    for name, folder in folders.items():
        metrics, model = read_json(folder / "metrics.json"), load_model(folder / "model.safetensors")
        lines.append(
            f"| {name} | {metrics['map50']:.3f} | {metrics['map50_95']:.3f} | {count_params(model) / 1e6:.2f} M "
            f"| {2e-9 * count_macs(model, IMGSZ):.2f} | {' | '.join(f'{ms[name]:.1f}' for ms in times.values())} |"
        )
    return "\n".join(lines)


def installed(runtime: str) -> bool:
    return importlib.util.find_spec(runtime) is not None


def latencies(folders: dict[str, Path], runtime: str, rounds: int, threads: int) -> dict[str, float]:
    """Median milliseconds an image of each model, timed in turn."""
    predictors: dict[str, Predictor] = {}
    for name, folder in folders.items():
        exported = folder / FORMATS[runtime]
        export_model(load_model(folder / "model.safetensors"), exported, file_format=FORMATS[runtime])
        predictors[name] = open_predictor(exported, runtime, threads)
    images = np.random.default_rng(0).integers(0, 256, (1, IMGSZ, IMGSZ, 3), dtype=np.uint8)
    torch.set_num_threads(threads)
    times = np.zeros((rounds + 5, len(predictors)))
    for turn in range(len(times)):
        for i, predictor in enumerate(predictors.values()):
            start = time.perf_counter()
            predictor.predict(images)
            times[turn, i] = (time.perf_counter() - start) * 1000
    return dict(zip(predictors, np.median(times[5:], axis=0).tolist(), strict=True))


if __name__ == "__main__":
    main()
