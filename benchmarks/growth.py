"""How cost grows with the work: `python -m benchmarks.growth` (some 10 minutes; `--most 120000` for the largest set).

Each cost is the CPU time of a process of its own and of its children, less that of the smallest job of its kind, which
is what starting takes; so other programs on the machine change little. The slope is that of log(cost) against log(work)
by least squares over the larger sizes: 1 is in proportion. Memory is the peak over what the smallest job took.

Report and MLflow sync need a checkout in which `make repro` has ended: `--checkout FOLDER`.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Job = Callable[[Path], None]
"""Does the work in a folder; what it prepares before returning the work itself is not counted."""


@dataclass(frozen=True)
class Growth:
    """What is measured, in which unit, for which sizes, and how a job of a size is made."""

    name: str
    unit: str
    sizes: tuple[int, ...]
    job: Callable[[int], Callable[[Path], Callable[[], object]]]


def cost(make: Callable[[Path], Callable[[], object]], repeats: int) -> tuple[float, float]:
    """Median CPU seconds and peak memory, MB, each time in a new process."""
    context = multiprocessing.get_context("spawn")
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="growth-") as folder, context.Pool(1) as pool:
            found.append(pool.apply(_cost, (make, Path(folder))))
    return float(np.median([seconds for seconds, _ in found])), float(np.median([memory for _, memory in found]))


def _cost(make: Callable[[Path], Callable[[], object]], folder: Path) -> tuple[float, float]:
    os.environ["OMP_NUM_THREADS"] = "1"
    work = make(folder)
    before = _cpu_s()
    work()
    seconds = _cpu_s() - before
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return seconds, peak / 1e3


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def drawn_set(folder: Path, images: int, boxes: int, classes: int) -> Path:
    """A set in YOLO layout: small pictures that differ in a few squares, boxes at random."""
    import cv2

    rng = np.random.default_rng(0)
    root = folder / "set"
    (root / "images/train").mkdir(parents=True)
    (root / "labels/train").mkdir(parents=True)
    picture = rng.integers(0, 255, (96, 128, 3), np.uint8)
    names = "\n".join(f"  {number}: class{number:04d}" for number in range(classes))
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/train\nnames:\n{names}\n")
    for number in range(images):
        for bit in range(20):
            picture[:8, 6 * bit : 6 * bit + 6] = 255 * (number >> bit & 1)
        cv2.imwrite(str(root / f"images/train/{number:06d}.jpg"), picture)
        centre, sides = rng.uniform(0.3, 0.7, (boxes, 2)), rng.uniform(0.1, 0.5, (boxes, 2))
        labels = rng.integers(0, classes, boxes)
        labels[0] = number % classes
        rows = (f"{c} {x:.4f} {y:.4f} {w:.4f} {h:.4f}" for c, (x, y), (w, h) in zip(labels, centre, sides, strict=True))
        (root / f"labels/train/{number:06d}.txt").write_text("\n".join(rows))
    return root


def stage_data(folder: Path, images: int = 200, boxes: int = 3, classes: int = 5) -> Callable[[], object]:
    from yoloslim.config import DataParams
    from yoloslim.data.prepare import prepare
    from yoloslim.data.source_state import look_at

    root = drawn_set(folder, images, boxes, classes)
    params = DataParams(source="yolo", path=str(root), workers=1)

    def both() -> None:
        prepare(params, folder / "out")
        look_at(root)

    return both


def an_epoch(folder: Path, images: int = 64, boxes: int = 3, classes: int = 5, px: int = 96) -> Callable[[], object]:
    import torch

    from benchmarks.training import drawn_up, no_validation
    from yoloslim.config import BaselineParams, TrainParams
    from yoloslim.models.detector import build_detector
    from yoloslim.training.fit import Task, fit

    torch.set_num_threads(1)
    params = TrainParams(batch=16, threads=1, mosaic=1.0)
    model = build_detector("yolov5n", tuple(map(str, range(classes))), px)
    data = drawn_up(images, px, classes)
    data = type(data)(
        data.images, data.sizes, data.boxes.repeat(1, -(-boxes // 3), 1), data.labels.repeat(1, -(-boxes // 3))
    )
    return partial(fit, Task(model, data, no_validation, params, BaselineParams(epochs=1)))


def the_metric(_: Path, images: int = 500, each: int = 100, classes: int = 20) -> Callable[[], object]:
    from benchmarks.training import drawn_detections
    from yoloslim.evaluation.metrics import coco_metrics

    return partial(coco_metrics, *drawn_detections(images, each, images * max(2, each // 40), classes))


def pruning(_: Path, percents: int = 1) -> Callable[[], object]:
    from yoloslim.models.detector import build_detector
    from yoloslim.prune_request import PruneRequest
    from yoloslim.pruning.certified_cut import prune

    model = build_detector("yolov5n", ("a", "b"), 160)

    def all_of_them() -> None:
        for number in range(percents):
            prune(model, PruneRequest(percent=20 + number, scope="source", round_to=1))

    return all_of_them


def a_report(folder: Path, percents: int, checkout: Path) -> Callable[[], object]:
    import yaml

    from benchmarks.tracking import copy_of
    from yoloslim.report.write import write_report
    from yoloslim.results.results import read_results

    project = folder / "project"
    copy_of(checkout, project, percents)
    params = yaml.safe_load((project / "params.yaml").read_text())
    os.chdir(project)
    return lambda: write_report(read_results(Path(), params), Path("report"), data=Path("data/voc"))


def a_sync(folder: Path, percents: int, checkout: Path) -> Callable[[], object]:
    from benchmarks.tracking import copy_of, sync

    copy_of(checkout, folder / "project", percents)
    return partial(sync, folder / "project")


def a_sweep(folder: Path, points: int) -> Callable[[], object]:
    from benchmarks import fanout

    fanout.WORK_S = 0.0
    os.environ |= {"PREFECT_LOGGING_LEVEL": "ERROR", "DVC_NO_ANALYTICS": "1", "CUDA_VISIBLE_DEVICES": ""}
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    (folder / "sweep").mkdir()
    return partial(fanout.run, folder / "sweep", "threads", points)


def sized(make: Callable[..., Callable[[], object]], key: str, **fixed: Any) -> Callable[[int], Any]:
    """Jobs of one kind whose size is the argument `key`."""
    return lambda size: partial(make, **{key: size}, **fixed)


def all_growth(most: int, checkout: Path | None) -> list[Growth]:
    """What is measured: sizes rise by powers of two or so."""
    to_64000 = (1000, 2000, 4000, 8000, 16000, 32000, 64000)
    images = tuple(size for size in (*to_64000, 120000) if size <= most)
    found = [
        Growth("stage data, 7 boxes an image", "images", images, sized(stage_data, "images", boxes=7)),
        Growth("stage data, 200 images", "boxes an image", (20, 50, 100, 200, 500), sized(stage_data, "boxes")),
        Growth("stage data, 1,000 images", "classes", (10, 100, 1000), sized(stage_data, "classes", images=1000)),
        Growth("an epoch, yolov5n, 32 px", "images", to_64000[::2], sized(an_epoch, "images", px=32)),
        Growth("an epoch of 64 images", "boxes an image", (30, 90, 270, 501), sized(an_epoch, "boxes")),
        Growth("an epoch of 64 images", "classes", (10, 100, 1000), sized(an_epoch, "classes")),
        Growth("COCO metrics", "images", to_64000, sized(the_metric, "images")),
        Growth("COCO metrics, 500 images", "detections an image", (50, 100, 200, 400), sized(the_metric, "each")),
        Growth("COCO metrics, 500 images", "classes", (10, 100, 1000), sized(the_metric, "classes")),
        Growth("prune, yolov5n", "percents", (6, 12, 25, 50), sized(pruning, "percents")),
        Growth("sweep by threads", "points", (3, 6, 12, 24), sized(a_sweep, "points")),
    ]
    if checkout:
        real = {"checkout": checkout.resolve()}
        found += [
            Growth("report", "percents", (6, 12, 25, 50), sized(a_report, "percents", **real)),
            Growth("MLflow sync", "percents", (6, 12, 24, 48), sized(a_sync, "percents", **real)),
        ]
    return found


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Of log(cost) against log(size), by least squares; costs below a tenth of the largest are mostly noise."""
    kept = [(size, seconds) for size, seconds in zip(sizes, costs, strict=True) if seconds > max(costs) / 10]
    logs = np.log(np.array(kept))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]) if len(kept) > 1 else float("nan")


def main() -> None:
    """Measure and print one row a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=16000, help="images of the largest set of stage data")
    parser.add_argument("--checkout", type=Path, help="where `make repro` has ended; without it no report and no sync")
    parser.add_argument("--only", default="", help="kinds whose name starts so")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    print("| what | of | sizes | CPU s, less the start | slope | memory over the smallest, MB |", flush=True)
    print("|:--|:--|:--|:--|--:|--:|", flush=True)
    for growth in all_growth(arguments.most, arguments.checkout):
        if not growth.name.startswith(arguments.only):
            continue
        smallest = max(1, growth.sizes[0] // 10)
        start, base = cost(growth.job(smallest), arguments.repeats)
        costs, memory = zip(*(cost(growth.job(size), arguments.repeats) for size in growth.sizes), strict=True)
        net = [seconds - start for seconds in costs]
        work = [size - smallest for size in growth.sizes]
        print(
            f"| {growth.name} | {growth.unit} | {', '.join(f'{size:,}' for size in growth.sizes)} "
            f"| {', '.join(f'{seconds:.2f}' for seconds in net)} | {slope(work, net):.2f} "
            f"| {', '.join(f'{peak - base:.0f}' for peak in memory)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
