"""YOLOv8, YOLO11 and YOLO26 beside YOLOv5, and what public weights are worth: `python -m benchmarks.detectors`.

`--bccd PACK`: yolov5n, yolov8n, yolo11n and yolo26n from scratch, 320 px, batch 16, 30 epochs, each with every seed, by
the recipe of `benchmarks.bccd`; the test split chooses the epoch, as where the public trainer was measured.
`--coco20 PACK --weights yolov5n-coco.pt`: those weights as they are, finetuned at 320 px, and the pipeline's way from
there: sparse training, 50 % cut, finetuned; val chooses the epoch, test is reported.
`--speed`: on a CPU, images a second and memory of training, each model in turn with the same bare step of yolov5n;
`--busy` counts processor time of one thread, on a machine that has other work.

The same command goes on where it stopped; `--minutes 9` stops by itself; `--jobs 8` trains so many side by side, one
thread each. docs/training.md names the few packages that it needs besides PyTorch.
"""

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.bccd import prepared
from benchmarks.experiment import cut_alone, measured, once
from benchmarks.instruments import BATCH, IMGSZ, MOSAIC, BareStep, Turns
from benchmarks.models import finish
from benchmarks.processes import ending_by, quiet
from benchmarks.training import bccd, memory, new_model, no_validation
from yoloslim.config import BaselineParams, Params, parse_params
from yoloslim.errors import Interrupted, YoloslimError
from yoloslim.files import read_json
from yoloslim.stages import baseline, data, finetune, sparse
from yoloslim.stages.common import DATA
from yoloslim.stages.models import store
from yoloslim.training.fit import Task, fit

MODELS = ("yolov5n", "yolov8n", "yolo11n", "yolo26n")
PEER = {"yolov8n": (0.753, 0.446, 8.1), "yolo11n": (0.741, 0.449, 7.7), "yolo26n": (0.781, 0.465, 7.7)}
"""The public trainer's mAP50, mAP50-95 and images a second; on the machine of the latter our yolov5n has OURS."""
OURS = 37.5
PERCENT = 50
STEPS = {
    "start": "public weights, untrained",
    "baseline": "finetuned",
    "sparse": "and sparse",
    f"prune/{PERCENT}": f"{PERCENT} % pruned",
    f"finetune/{PERCENT}": f"{PERCENT} % pruned, finetuned",
}


@dataclass(frozen=True)
class Run:
    """One piece of work: a training on bccd, or all steps on coco20."""

    model: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return Path(f"coco20/{self.seed}") if self.model == "coco" else Path(f"bccd/{self.model}-{self.seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bccd", type=Path, help="bccd.tar")
    parser.add_argument("--coco20", type=Path, help="coco20.tar")
    parser.add_argument("--weights", type=Path, help="yolov5n-coco.pt")
    parser.add_argument("--work", type=Path, default=Path(".cache/benchmark-detectors"), help="keeps what is finished")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--gentle", action="store_true", help="coco20: a tenth of every learning rate")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long; 0 runs to the end")
    parser.add_argument("--speed", action="store_true", help="measure speed and memory on bccd; train nothing else")
    parser.add_argument("--busy", action="store_true", help="with --speed: count processor time, of one thread")
    parser.add_argument("--table", action="store_true", help="train nothing; make the tables of what is finished")
    arguments = parser.parse_args()
    if bool(arguments.coco20) != bool(arguments.weights):
        parser.error("--coco20 and --weights go together")
    if not arguments.bccd and (arguments.speed or not arguments.coco20):
        parser.error("give --bccd" + ("" if arguments.speed else ", or --coco20 with --weights, or all"))
    for name in ("bccd", "coco20", "weights"):
        given = getattr(arguments, name)
        setattr(arguments, name, given.resolve(strict=True) if given else None)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    arguments.work.mkdir(parents=True, exist_ok=True)
    os.chdir(arguments.work)
    if arguments.speed:
        print(speed_table(arguments.bccd, arguments.models, arguments.epochs, arguments.busy))
        return
    runs = [Run(model, seed) for seed in arguments.seeds for model in arguments.models if arguments.bccd]
    runs += [Run("coco", seed) for seed in arguments.seeds if arguments.coco20]
    if not arguments.table and not train_all(arguments, runs):
        print("stopped, or failed where it says so; the same command goes on")
    print(bccd_table(runs) + "\n\n" + coco_table(runs))


def train_all(arguments: argparse.Namespace, runs: list[Run]) -> bool:
    """Do what is not done, several at a time; true once all of it is."""
    deadline = time.monotonic() + arguments.minutes * 60 if arguments.minutes else float("inf")
    if arguments.bccd:
        prepared(arguments.bccd, Path("bccd/data"))
    job = partial(work, arguments, deadline)
    if arguments.jobs == 1:
        done = [job(run) for run in runs]  # what fails does not keep others from being done
        return all(done)
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn"), initializer=quiet) as pool:
        return all(list(pool.map(job, runs)))


def work(arguments: argparse.Namespace, deadline: float, run: Run) -> bool:
    """Do one run, in a process of its own or not; false where time was up, or it failed."""
    try:
        with ending_by(deadline):
            if run.model == "coco":
                coco(arguments, run)
            else:
                finish(run.model, run.folder, arguments.bccd, arguments.epochs, run.seed, arguments.device)
    except (KeyboardInterrupt, Interrupted):
        return False
    except YoloslimError as error:
        print(f"{run.folder}: {error}", flush=True)
        return False
    return True


def coco(arguments: argparse.Namespace, run: Run) -> None:
    """The pipeline's stages from public weights, whatever of them is not done."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with chdir(run.folder):
        params = coco_params(arguments, run)
        once(DATA / "report.json", partial(data.run, params))
        measured("start", params, partial(start, params))
        measured("baseline", params, partial(baseline.run, params))
        measured("sparse", params, partial(sparse.run, params))
        measured(f"prune/{PERCENT}", params, partial(cut_alone, params, PERCENT))
        measured(f"finetune/{PERCENT}", params, partial(finetune.run, params, PERCENT))


def coco_params(arguments: argparse.Namespace, run: Run) -> Params:
    """The pipeline's parameters."""
    sets = {f"{name}_set": name for name in ("train", "val", "test")}
    share = 0.1 if arguments.gentle else 1.0
    adam = {"optimizer": "AdamW", "epochs": arguments.epochs, "warmup_epochs": 1}
    return parse_params(
        {
            "seed": run.seed,
            "model": "yolov5n",
            "imgsz": IMGSZ,
            "percents": [PERCENT],
            "data": {"source": "voc", "path": str(arguments.coco20), **sets},
            "train": {
                "batch": BATCH,
                "mosaic": 1.0,
                "scale": 0.5,
                "hsv_s": 0.7,
                "hsv_v": 0.4,
                "device": arguments.device,
                "cache_dir": str(Path.cwd() / ".cache"),
            },
            "baseline": {**adam, "lr0": 0.0005 * share, "weights": str(arguments.weights)},
            # scales shrink alike
            "sparse": {"penalty": "slimming", "epochs": arguments.epochs, "lr0": 0.01 * share, "rate": 0.02 / share},
            "prune": {"scope": "coupled", "importance": "gamma", "round_to": 8},
            "finetune": {**adam, "lr0": 0.002 * share, "distill_output": 0.0},
            "tracking": {"enabled": False},
        }
    )


def start(params: Params) -> None:
    """Public weights as the stage `baseline` begins with them."""
    store(baseline.start_model(params, Path(params.baseline.weights)), "start")


def bccd_table(runs: Iterable[Run]) -> str:
    """Accuracy of the finished trainings on bccd, in Markdown."""
    lines = ["| model | seeds | mAP50 | mAP50-95 | public trainer, one seed |", "|:--|--:|--:|--:|--:|"]
    for model in dict.fromkeys(run.model for run in runs if run.model != "coco"):
        paths = [run.folder / "metrics.json" for run in runs if run.model == model]
        found = [read_json(path) for path in paths if path.is_file()]
        peer = "{:.3f}, {:.3f}".format(*PEER[model]) if model in PEER else ""
        if found:
            cells = [spread([r[key] for r in found]) for key in ("map50", "map50_95")]
            lines.append(f"| {model} | {len(found)} | {' | '.join(cells)} | {peer} |")
    return "\n".join(lines)


def coco_table(runs: Iterable[Run]) -> str:
    """What came out on coco20, in Markdown."""
    lines = ["| model | seeds | mAP50 | mAP50-95 | parameters | GFLOPs |", "|:--|--:|--:|--:|--:|--:|"]
    for step, words in STEPS.items():
        paths = [run.folder / f"metrics/{step}.json" for run in runs if run.model == "coco"]
        found = [read_json(path) for path in paths if path.is_file()]
        if found:
            cells = [spread([r[key] for r in found]) for key in ("map50", "map50_95", "params_m", "gflops")]
            lines.append(f"| {words} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean, and the standard deviation of several."""
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def speed_table(pack: Path, models: Iterable[str], epochs: int, busy: bool) -> str:
    """Training on this CPU, brought to the public trainer's machine by yolov5n, in Markdown."""
    torch.set_num_threads(1 if busy else 2)
    clock = time.process_time if busy else time.perf_counter
    lines = [
        "| model | times a bare step of yolov5n (p10-p90) | images/s there | public trainer "
        "| times as fast | memory MB |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    folder = Path("speed").absolute()
    shares = {model: pace(pack, folder, model, epochs, clock) for model in dict.fromkeys(["yolov5n", *models])}
    for model, (median, low, high) in shares.items():
        rate = OURS * shares["yolov5n"][0] / median
        peer = PEER[model][2] if model in PEER else None
        cells = [f"{median:.2f} ({low:.2f}-{high:.2f})", f"{rate:.1f}", str(peer or "")]
        cells += [f"{rate / peer:.2f}" if peer else "", f"{memory(pack, folder, model):.0f}"]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pace(pack: Path, folder: Path, model: str, epochs: int, clock: Callable[[], float]) -> tuple[float, float, float]:
    """Time of a whole step of `fit`, in bare bf16 steps of yolov5n between them: median, p10, p90."""
    images = bccd(pack, folder)
    network = new_model(model, CLASSES, IMGSZ)
    turns = Turns({"yolov5n": BareStep(new_model("yolov5n", CLASSES, IMGSZ), fast=True)}, clock)
    phase = BaselineParams(epochs=epochs)
    fit(Task(network, images, no_validation, MOSAIC, phase, callbacks=(turns,)))
    whole, bare = (np.array(turns.times[key][2:]) for key in ("whole", "yolov5n"))
    median, low, high = np.percentile(whole / bare, (50, 10, 90)).tolist()
    return median, low, high


CLASSES = ("Platelets", "RBC", "WBC")

if __name__ == "__main__":
    main()
