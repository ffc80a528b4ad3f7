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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
from torch import Tensor

from yoloslim.config import BaselineParams, DataParams, TrainParams
from yoloslim.data.augment import Augmenter, Batch
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.prepare import prepare
from yoloslim.data.trainset import TrainSet, load_train_set
from yoloslim.data.voc import annotation_from, load_split
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.metrics import coco_metrics
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector, build_detector
from yoloslim.training.callback import Callback, State
from yoloslim.training.devices import choose_precision
from yoloslim.training.fit import Task, fit
from yoloslim.training.loss import DetectionLoss, Gains

IMGSZ, BATCH = 320, 16
PEER = {  # on its own machine: whole step and plain fp32 step in images/s, validation in s, memory in MB
    "yolov5n": {"whole": 37.7, "fp32": 50.5, "val": 0.9, "memory": 1851, "owed": 2.2},
    "yolov5s": {"whole": 14.0, "fp32": 16.6, "val": 1.8, "memory": 2691, "owed": 2.5},
}
MOSAIC = TrainParams(batch=BATCH, mosaic=1.0, scale=0.5, hsv_s=0.7, hsv_v=0.4, val_every=10_000)


class BareStep:
    """Forward, loss, backward and SGD on one fixed batch: what no trainer can do without."""

    def __init__(self, model: Detector, fast: bool) -> None:
        self.net = copy.deepcopy(model).train()
        layout = torch.channels_last if fast else torch.contiguous_format
        self.net.to(memory_format=layout)
        self.images = torch.rand(BATCH, 3, IMGSZ, IMGSZ).contiguous(memory_format=layout)
        self.loss = DetectionLoss(model.spec, Gains.of(MOSAIC), torch.device("cpu"))
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
        self.context = torch.autocast("cpu", torch.bfloat16) if fast else nullcontext()

    def __call__(self, targets: Tensor) -> None:
        """Take one step."""
        with self.context:
            heads = self.net(self.images)
        loss, _ = self.loss(heads, targets)
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()


class Turns(Callback):
    """After each step of `fit`, bare steps; notes what each took, in seconds."""

    def __init__(self, bare: dict[str, BareStep]) -> None:
        self.bare = bare
        self.times: dict[str, list[float]] = {"whole": [], **{name: [] for name in bare}}
        self.since = 0.0

    def start(self, state: State) -> None:
        """See Callback."""
        self.since = time.perf_counter()

    def after_step(self, state: State) -> None:
        """Time the step that is over, then the bare ones; the short last batch of an epoch does not count."""
        if len(state.images) == BATCH:
            self.times["whole"].append(time.perf_counter() - self.since)
            for name, step in self.bare.items():
                self.times[name].append(_seconds(lambda step=step: step(state.targets)))  # type: ignore[misc]
        self.since = time.perf_counter()

    def after_epoch(self, state: State) -> dict[str, float]:
        """See Callback."""
        self.since = time.perf_counter()
        return {}


class PeakMemory(Callback):
    """Proportional set size of the process and its children, MB."""

    peak = 0.0

    def after_step(self, state: State) -> None:
        """See Callback."""
        me = psutil.Process()
        tree = [me, *me.children(recursive=True)]
        self.peak = max(self.peak, sum(p.memory_full_info().pss for p in tree) / 1e6)


@contextmanager
def clocked(*names: str) -> Iterator[list[float]]:
    """Seconds spent in methods of Augmenter."""
    spent: list[float] = []
    before = {name: getattr(Augmenter, name) for name in names}

    def clock(method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **more: Any) -> Any:
            start = time.perf_counter()
            result = method(*arguments, **more)
            spent.append(time.perf_counter() - start)
            return result

        return timed

    for name, method in before.items():
        setattr(Augmenter, name, clock(method))
    try:
        yield spent
    finally:
        for name, method in before.items():
            setattr(Augmenter, name, method)


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


def validation_s(folder: Path, model: Detector) -> float:
    """As `fit` measures an epoch: in the precision of the training, model folded and metrics included."""
    test = load_eval_set(load_split(folder / "voc", "test"), IMGSZ, folder / "cache")
    fast = choose_precision("auto", torch.device("cpu")) == "bf16-mixed"
    precision: Literal["fp32", "bf16"] = "bf16" if fast else "fp32"
    return min(_seconds(lambda: evaluate(TorchPredictor(model, precision=precision), test)) for _ in range(3))


def metrics_s(count: int = 4952, each: int = 100, objects: int = 12_330, classes: int = 20) -> float:
    """Time of COCO metrics on drawn-up detections; the tests compare their values with pycocotools."""
    rng = np.random.default_rng(0)
    names = tuple(str(i) for i in range(classes))
    owner = np.sort(rng.integers(0, count, objects))
    corner = rng.uniform(0, 300, (objects, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 200, (objects, 2))], 1).astype(np.float32)
    labels, none = rng.integers(0, classes, objects), np.zeros(objects, np.bool_)
    truth, found = [], []
    for i in range(count):
        mine = owner == i
        truth.append(annotation_from(500, 500, boxes[mine], labels[mine], none[mine], none[mine]))
        base = rng.uniform(0, 300, (each, 2))
        some = np.concatenate([base, base + rng.uniform(10, 200, (each, 2))], 1)
        hits = min(int(mine.sum()), each)
        some[:hits] = boxes[mine][:hits] + rng.normal(0, 5, (hits, 4))
        label = rng.integers(0, classes, each)
        label[:hits] = labels[mine][:hits]
        rows = np.concatenate([some, rng.uniform(0, 1, (each, 1)), label[:, None]], 1)
        found.append(rows.astype(np.float32))
    return min(_seconds(lambda: coco_metrics(truth, found, names)) for _ in range(2))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def on_cpu(pack: Path, names: list[str], epochs: int) -> None:
    head = ["model", "bare fp32", "bare bf16", "whole step", "of bare fp32 (p10-p90)", "peer, scaled", "times peer"]
    print(f"{IMGSZ} px, batch {BATCH}, {torch.get_num_threads()} threads, images/s, medians\n")
    print_row(*head, "owed", "data share", "peak PSS MB (peer)", "validation s (peer, scaled)")
    print_row(*["---"] * 11)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in names:
            found, model = steps(pack, folder, name, epochs)
            rate, (ratio, low, high), peer = found["rate"], found["ratio"]["whole"], PEER[name]
            slower = peer["fp32"] / rate["fp32"]
            print_row(
                name, f"{rate['fp32']:.1f}", f"{rate['fast']:.1f}", f"{rate['whole']:.1f}",
                f"{ratio:.2f} ({low:.2f}-{high:.2f})", f"{peer['whole'] / slower:.1f}",
                f"{rate['whole'] * slower / peer['whole']:.2f}", f"{peer['owed']}", f"{100 * found['data']:.1f} %",
                f"{memory(pack, folder, name):.0f} ({peer['memory']})",
                f"{validation_s(folder, model):.2f} ({peer['val'] * slower:.2f})",
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

    Augmenter.plan = lambda self, *arguments: arguments  # type: ignore[method-assign,assign]
    Augmenter.finish = once  # type: ignore[method-assign,assign]
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
