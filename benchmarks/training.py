"""Speed of training: `python -m benchmarks.training ../shared/data/bccd.tar` (some 4 minutes on 2 quiet cores).

On a CPU: yolov5n and yolov5s, 320 px, batch 16. The whole step of `fit`, with real data, augmentation and moving
average, takes turns with bare steps (forward, loss, backward, SGD) of the same network in the same process: plain fp32,
and channels last with bf16. Whatever slows the machine hits all alike, so their ratios hold anywhere. A figure of
another machine is brought here by the plain fp32 step of both, and is marked as scaled.

With a CUDA device (`--cuda`): images a second of the whole step at 512 and 640 px, batch 64 and 128, on drawn-up data,
and the share of the time that the GPU waits for data: what a run that repeats one batch saves.
"""

import argparse
import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.instruments import BATCH, IMGSZ, MOSAIC, BareStep, PeakMemory, Turns, clocked, seconds_of
from yoloslim.config import BaselineParams, DataParams
from yoloslim.data.augment import Augmenter, Batch
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.prepare import prepare
from yoloslim.data.trainset import TrainSet, load_train_set
from yoloslim.data.voc import annotation_from, load_split
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.metrics import coco_metrics
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector, build_detector
from yoloslim.training.devices import choose_precision
from yoloslim.training.fit import Task, fit

PEER = {  # on its own machine: whole step and plain fp32 step in images/s, validation in s, memory in MB
    "yolov5n": {"whole": 37.7, "fp32": 50.5, "val": 0.9, "memory": 1851, "owed": 2.2},
    "yolov5s": {"whole": 14.0, "fp32": 16.6, "val": 1.8, "memory": 2691, "owed": 2.5},
}


def no_validation(_: Detector) -> dict[str, float]:
    return {"map50": 0.0, "map50_95": 0.0}


def bccd(pack: Path, folder: Path) -> TrainSet:
    if not (folder / "voc").exists():
        source = DataParams(source="voc", path=str(pack), train_set="trainval", val_set="test", test_set="test")
        prepare(source, folder / "voc")
    return load_train_set(load_split(folder / "voc", "train"), IMGSZ, folder / "cache")


def new_model(name: str, classes: tuple[str, ...], imgsz: int) -> Detector:
    torch.manual_seed(0)
    return build_detector(name, classes, imgsz)


def steps(pack: Path, folder: Path, name: str, epochs: int) -> tuple[dict[str, Any], Detector]:
    images = bccd(pack, folder)
    model = new_model(name, load_split(folder / "voc", "train").classes, IMGSZ)
    turns = Turns({"fp32": BareStep(model, fast=False), "fast": BareStep(model, fast=True)})
    phase = BaselineParams(optimizer="SGD", momentum=0.937, lr0=0.01, epochs=epochs)
    with clocked("plan", "finish") as spent:
        result = fit(Task(model, images, no_validation, MOSAIC, phase, callbacks=(turns,)))
    times = {key: np.array(values[2:]) for key, values in turns.times.items()}
    rate = {key: BATCH / float(np.median(values)) for key, values in times.items()}
    ratio = {key: np.percentile(times["fp32"] / values, (50, 10, 90)) for key, values in times.items()}
    return {"rate": rate, "ratio": ratio, "data": sum(spent) / sum(turns.times["whole"])}, result.model


def memory(pack: Path, folder: Path, name: str) -> float:
    """Peak of one epoch in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory, (pack, folder, name, torch.get_num_threads()))


def _memory(pack: Path, folder: Path, name: str, threads: int) -> float:
    torch.set_num_threads(threads)
    peak, images = PeakMemory(), bccd(pack, folder)
    model = new_model(name, load_split(folder / "voc", "train").classes, IMGSZ)
    fit(Task(model, images, no_validation, MOSAIC, BaselineParams(optimizer="SGD", epochs=1), callbacks=(peak,)))
    return peak.peak


def validation(folder: Path, model: Detector, rounds: int = 12) -> tuple[float, float]:
    """Seconds of an epoch's validation, and how many plain fp32 training steps take as long; medians.

    As the stages `baseline` and `finetune` measure an epoch, in the precision of the training, model folded and metrics
    included, but on rectangles (`evaluation.rect`), as the peer validates. `sparse` recalibrates BatchNorm first.
    """
    test = load_eval_set(load_split(folder / "voc", "test"), IMGSZ, folder / "cache")
    fast = choose_precision("auto", torch.device("cpu")) == "bf16-mixed"
    precision: Literal["fp32", "bf16"] = "bf16" if fast else "fp32"
    step = BareStep(copy.deepcopy(model).requires_grad_(True), fast=False)
    boxes = torch.rand(200, 6) * torch.tensor([BATCH, len(model.spec.classes), 1, 1, 0.2, 0.2])
    boxes[:, :2].floor_()

    def validate() -> None:
        evaluate(TorchPredictor(model, precision=precision, any_shape=True), test, rect=True)

    times = []
    for _ in range(rounds):
        before, took = seconds_of(lambda: step(boxes)), seconds_of(validate)
        times.append((took, took / ((before + seconds_of(lambda: step(boxes))) / 2)))
    return tuple(np.median(times[2:], axis=0).tolist())


def drawn_detections(count: int, each: int, objects: int, classes: int) -> tuple[list[Any], list[Any], tuple[str, ...]]:
    """Truth and detections of images at random, and names of classes; the tests compare such with pycocotools."""
    rng: Any = np.random.default_rng(0)
    owner: Any = np.sort(rng.integers(0, count, objects))
    ends = np.searchsorted(owner, np.arange(count + 1))
    corner = rng.uniform(0, 300, (objects, 2))
    boxes: Any = np.concatenate([corner, corner + rng.uniform(10, 200, (objects, 2))], 1).astype(np.float32)
    labels, none = rng.integers(0, classes, objects), rng.random(objects) > 1
    truth, found = [], []
    for first, last in pairwise(ends):
        mine = slice(first, last)
        truth.append(annotation_from(500, 500, boxes[mine], labels[mine], none[mine], none[mine]))
        base = rng.uniform(0, 300, (each, 2))
        some = np.concatenate([base, base + rng.uniform(10, 200, (each, 2))], 1)
        hits = min(last - first, each)
        some[:hits] = boxes[mine][:hits] + rng.normal(0, 5, (hits, 4))
        label = rng.integers(0, classes, each)
        label[:hits] = labels[mine][:hits]
        rows = np.concatenate([some, rng.uniform(0, 1, (each, 1)), label[:, None]], 1)
        found.append(rows.astype(np.float32))
    return truth, found, tuple(map(str, range(classes)))


def metrics_s() -> float:
    """Time of COCO metrics of a set like VOC2007's test split."""
    drawn = drawn_detections(4952, 100, 12_330, 20)
    return min(seconds_of(lambda: coco_metrics(*drawn)) for _ in range(2))


def on_cpu(pack: Path, names: list[str], epochs: int) -> None:
    head = ["model", "bare fp32", "bare bf16", "whole step", "of bare fp32 (p10-p90)", "peer, scaled", "times peer"]
    print(f"{IMGSZ} px, batch {BATCH}, {torch.get_num_threads()} threads, images/s, medians\n")
    print_row(*head, "owed", "data share", "peak PSS MB (peer)", "validation s (share of peer's, scaled)")
    print_row(*["---"] * 11)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in names:
            found, model = steps(pack, folder, name, epochs)
            rate, (ratio, low, high), peer = found["rate"], found["ratio"]["whole"], PEER[name]
            slower = peer["fp32"] / rate["fp32"]
            val_s, val_steps = validation(folder, model)
            print_row(
                name, f"{rate['fp32']:.1f}", f"{rate['fast']:.1f}", f"{rate['whole']:.1f}",
                f"{ratio:.2f} ({low:.2f}-{high:.2f})", f"{peer['whole'] / slower:.1f}",
                f"{rate['whole'] * slower / peer['whole']:.2f}", f"{peer['owed']}", f"{100 * found['data']:.1f} %",
                f"{memory(pack, folder, name):.0f} ({peer['memory']})",
                f"{val_s:.2f} ({100 * val_steps * BATCH / (peer['val'] * peer['fp32']):.0f} %)",
            )  # fmt: skip
    print(f"\nCOCO metrics of 4,952 images with 495,200 detections: {metrics_s():.2f} s")


def drawn_up(count: int, size: int, classes: int) -> TrainSet:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (count, size, size, 3), dtype=torch.uint8, generator=rng)
    corner = torch.rand(count, 3, 2, generator=rng) * size * 0.6
    boxes = torch.cat([corner, corner + size * (0.05 + 0.3 * torch.rand(count, 3, 2, generator=rng))], 2)
    labels = torch.randint(0, classes, (count, 3), generator=rng)
    return TrainSet(images, torch.full((count, 2), size), boxes, labels)


@contextmanager
def one_batch() -> Iterator[None]:
    """Let every step train on the first batch that is made, so that data costs nothing."""
    plan, finish = Augmenter.plan, Augmenter.finish
    kept: dict[int, Batch] = {}

    def once(self: Augmenter, ready: Any) -> Batch:
        if len(kept) == 0:
            kept[0] = finish(self, plan(self, *ready))
        return kept[0]

    Augmenter.plan = lambda self, *arguments: arguments  # type: ignore[method-assign,assignment]
    Augmenter.finish = once  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Augmenter.plan, Augmenter.finish = plan, finish  # type: ignore[method-assign]


def on_cuda(name: str, sizes: tuple[int, ...], batches: tuple[int, ...], images: int) -> None:
    classes = tuple(str(i) for i in range(20))
    print(f"{torch.cuda.get_device_name()}, {name}, {images} drawn-up images\n")
    print_row("px", "batch", "images/s", "without data", "GPU waits for data", "peak GPU GB")
    print_row(*["---"] * 6)
    for size in sizes:
        data, model = drawn_up(images, size, len(classes)), new_model(name, classes, size)
        for batch in batches:
            torch.cuda.reset_peak_memory_stats()
            count = len(data) // batch * batch
            whole = replace_size(data, count)
            params = MOSAIC.model_copy(update={"batch": batch})
            task = Task(model, whole, no_validation, params, BaselineParams(optimizer="SGD", epochs=3))
            rate = fit(task).history[-2]["images_per_s"]
            peak = torch.cuda.max_memory_allocated() / 1e9
            with one_batch():
                free = fit(task).history[-2]["images_per_s"]
            waits = f"{100 * max(0.0, 1 - rate / free):.1f} %"
            print_row(str(size), str(batch), f"{rate:.0f}", f"{free:.0f}", waits, f"{peak:.1f}")


def replace_size(data: TrainSet, count: int) -> TrainSet:
    return TrainSet(data.images[:count], data.sizes[:count], data.boxes[:count], data.labels[:count])


def print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, nargs="?", help="bccd.tar; not needed with --cuda")
    parser.add_argument("--model", nargs="+", default=None, help="default: yolov5n yolov5s, with --cuda yolov5s")
    parser.add_argument("--epochs", type=int, default=2, help="on a CPU: epochs of 19 steps that are timed")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--cuda", action="store_true", help="measure the CUDA device instead")
    parser.add_argument("--images", type=int, default=4096, help="with --cuda: images in the set")
    arguments = parser.parse_args()
    if arguments.cuda:
        if not torch.cuda.is_available():
            parser.error("PyTorch finds no CUDA device")
        for name in arguments.model or ["yolov5s"]:
            on_cuda(name, (512, 640), (64, 128), arguments.images)
        return
    if arguments.pack is None:
        parser.error("give the path of bccd.tar")
    torch.set_num_threads(arguments.threads)
    on_cpu(arguments.pack, arguments.model or list(PEER), arguments.epochs)


if __name__ == "__main__":
    main()
