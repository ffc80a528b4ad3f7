"""Which way to a faster detector is the most accurate one at the same latency: `python -m benchmarks.race PACK`.

One dense model a seed; then each way of `benchmarks.contestants` makes networks that take 0.7, 0.5 and 0.35 of its
time, and trains them, all for the same number of epochs. A control is the dense model trained on for as many; another
the same architecture from scratch for as many in all; then a narrower one, and smaller images. One table at the end,
with latencies of all networks timed in turn in one session; trainings may run elsewhere, since `--table` only makes it.

The same command goes on where it stopped; `--minutes 9` stops by itself; `--jobs 8` trains so many side by side, which
small networks on a GPU want (with OMP_NUM_THREADS=1). Seeds and ways may be added later. docs/training.md names the few
packages that it needs besides PyTorch; Torch-Pruning is left out, with a row that says so, where it is not installed.
"""

import argparse
import fnmatch
import json
import logging
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import WAYS
from benchmarks.latency import clock_of, in_turn, opened
from benchmarks.processes import ending_by, quiet
from benchmarks.race_run import RESULT, Run, Setup
from benchmarks.racer import Racer
from yoloslim.errors import ConfigError, Interrupted, YoloslimError
from yoloslim.files import read_json, write_json
from yoloslim.models.detector import Detector
from yoloslim.models.spec import ModelSpec


def main() -> None:
    arguments = parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    pack = arguments.pack.resolve()
    dense = str(arguments.dense.resolve()) if arguments.dense else ""
    optimizer, lr0 = arguments.finetune
    setup = Setup(
        str(pack),
        tuple(arguments.sets),
        arguments.report,
        arguments.model,
        arguments.imgsz,
        arguments.batch,
        arguments.mosaic,
        dense,
        tuple(arguments.epochs),
        arguments.val_every,
        (optimizer, float(lr0)),
        arguments.rate,
        arguments.threads,
        arguments.by,
        arguments.gains and tuple(arguments.gains),
        arguments.device,
        time.monotonic() + arguments.minutes * 60 if arguments.minutes else float("inf"),
    )
    arguments.work.mkdir(parents=True, exist_ok=True)
    try:
        os.chdir(arguments.work)
        check_same(setup)
        runs = runs_of(arguments.ways, arguments.seeds, arguments.shares)
        if not arguments.table and not train_all(setup, runs, arguments.jobs):
            print("stopped; the same command goes on")
            return
        print(table(setup, runs, arguments.rounds))
    except (KeyboardInterrupt, Interrupted):
        print("stopped; the same command goes on")
    except YoloslimError as error:
        sys.exit(f"error: {error}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, help="folder or archive of images and boxes")
    sets = ("train", "val", "test")
    parser.add_argument("--sets", nargs=3, default=("", "", ""), metavar=tuple(s.upper() for s in sets))
    parser.add_argument("--report", default="test", choices=("val", "test"), help="the split that results are of")
    parser.add_argument("--work", type=Path, default=Path("race"), help="folder of what is finished")
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--dense", type=Path, help="start from this trained model instead of training one")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--mosaic", type=float, default=1.0, help="its probability")
    what = ("DENSE", "SPARSE", "FINETUNE")
    parser.add_argument("--epochs", type=int, nargs=3, default=(30, 20, 15), metavar=what)
    parser.add_argument("--val-every", type=int, default=5)
    parser.add_argument("--finetune", nargs=2, default=("AdamW", "0.002"), metavar=("OPTIMIZER", "LR0"))
    parser.add_argument("--gains", type=float, nargs=2, metavar=("OBJ", "CLS"), help="of the loss")
    parser.add_argument("--rate", type=float, default=0.03, help="sparsity penalty of Network Slimming")
    parser.add_argument("--ways", nargs="+", default=["*"], help=f"which, with * and ?: {', '.join(WAYS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    parser.add_argument("--shares", type=float, nargs="+", default=(0.7, 0.5, 0.35), help="of the dense latency")
    parser.add_argument("--by", default="latency", choices=("latency", "gflops"), help="what the shares are shares of")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--threads", type=int, default=1, help="of the runtime that latency is measured on")
    parser.add_argument("--rounds", type=int, default=100, help="turns that the table's latencies are measured in")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long; 0 runs to the end")
    parser.add_argument("--table", action="store_true", help="train nothing; make the table of what is finished")
    return parser.parse_args()


def check_same(setup: Setup) -> None:
    """Note what the race is about.

    Raises:
        ConfigError: the folder holds another one.
    """
    note, now = Path("arguments.json"), json.loads(json.dumps(setup.counts()))
    before = read_json(note) if note.is_file() else now
    for name, value in now.items():
        place = Path(str(value)).name == Path(str(before.get(name))).name and name in ("pack", "dense")
        if before.get(name) != value and not place:
            raise ConfigError(
                f"{Path.cwd()} holds a race with {name} {before.get(name)}, and this one has {name} {value}; "
                "name another folder with --work, or delete that one"
            )
    write_json(note, now)


def runs_of(patterns: list[str], seeds: list[int], shares: list[float]) -> list[Run]:
    """All trainings that these ways need, in an order that never starts one before what it needs."""
    ways = {name: way for name, way in WAYS.items() if any(fnmatch.fnmatch(name, p) for p in patterns)}
    if not ways:
        raise ConfigError(f"no way is called {' or '.join(patterns)}; there are {', '.join(WAYS)}")
    if not all(0 < share < 1 for share in shares):
        raise ConfigError(f"shares {' '.join(map(str, shares))}: each must lie between 0 and 1")
    runs = [
        Run(seed, name, share)
        for seed in seeds
        for name, way in ways.items()
        for share in ((1.0,) if way.fixed else shares)
    ]
    return list(dict.fromkeys(each for run in runs for each in _with_needs(run)))


def _with_needs(run: Run) -> Iterator[Run]:
    """A run behind all that it needs."""
    for need in run.needs:
        yield from _with_needs(need)
    yield run


def train_all(setup: Setup, runs: list[Run], jobs: int) -> bool:
    """Train whatever is not done, several at a time; true once all of it is."""
    racer = Racer(setup)
    racer.prepare()
    if any("-budget" in run.name and not run.is_done for run in runs):
        racer.time_layers()
    for run in runs:  # what failed is tried again: a package may be there now
        if run.is_done and "error" in read_json(run.folder / RESULT):
            (run.folder / RESULT).unlink()
    if jobs == 1:
        return all(work(setup, run) for run in runs if not run.is_done)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=quiet) as pool:
        waiting, under_way = [run for run in runs if not run.is_done], dict[Future[bool], Run]()
        complete = True
        while waiting or under_way:
            ready = [r for r in waiting if all(need.is_done for need in r.needs)] if complete else []
            for run in ready:
                waiting.remove(run)
                under_way[pool.submit(work, setup, run)] = run
            if not under_way:
                return False
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                run = under_way.pop(future)
                complete &= future.result()
                print(f"{len(waiting) + len(under_way)} left after {line_of(run)}", flush=True)
    return complete


def line_of(run: Run) -> str:
    if not run.is_done:
        return f"{run.folder}: stopped"
    r = read_json(run.folder / RESULT)
    return f"{run.folder}: " + (r.get("error") or f"mAP50 {r['map50']:.3f}, mAP50-95 {r['map50_95']:.3f}")


def work(setup: Setup, run: Run) -> bool:
    """Do one training, in a process of its own or not; false where time was up."""
    try:
        with ending_by(setup.deadline):
            print(f"== {run.folder}", flush=True)
            racer_of(setup).race(run)
    except (KeyboardInterrupt, Interrupted):
        return False
    except YoloslimError as error:
        write_json(run.folder / RESULT, {"error": str(error)})
        print(f"{run.folder}: {error}", flush=True)
    return True


@cache
def racer_of(setup: Setup) -> Racer:
    """One a process: it holds the data."""
    return Racer(setup)


def table(setup: Setup, runs: list[Run], rounds: int) -> str:
    """What came out, in Markdown; written to results.json too."""
    found = {run: read_json(run.folder / RESULT) for run in runs if run.is_done}
    good = {run: r for run, r in found.items() if "error" not in r}
    shares = timed(setup, good, rounds)
    write_json(
        Path("results.json"),
        [
            {"seed": run.seed, "way": run.name, "share": run.share}
            | {k: v for k, v in r.items() if k != "spec"}
            | ({"latency_share": shares[run]} if run in shares else {})
            for run, r in found.items()
        ],
    )
    lines = [
        f"{setup.model}, {setup.imgsz} px, {Path(setup.pack).name}; epochs {' + '.join(map(str, setup.epochs))}; "
        f"latency in ONNX Runtime, batch 1, {setup.threads} thread(s), all in turn; ±: standard deviation over seeds\n",
        "| at | way | seeds | mAP50 | mAP50-95 | against dense | before training | params M | GFLOPs | latency |",
        "|--:|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, share in sorted({(run.name, run.share) for run in good}, key=lambda key: -key[1]):
        members = {run.seed: run for run in good if (run.name, run.share) == (name, share)}
        rows = [good[run] for run in members.values()]
        controls = {s: good.get(Run(s, "dense")) for s in members}
        pairs = [good[members[s]]["map50_95"] - c["map50_95"] for s, c in controls.items() if c]
        cells = [
            f"{share:g}",
            name,
            str(len(rows)),
            spread([r["map50"] for r in rows]),
            spread([r["map50_95"] for r in rows]),
            spread(pairs, "+.3f") if pairs and name != "dense" else "",
            spread([r["map50_95_cut"] for r in rows if "map50_95_cut" in r]),
            f"{np.mean([r['params_m'] for r in rows]):.3f}",
            f"{np.mean([r['gflops'] for r in rows]):.3f}",
            f"{np.mean([shares[run] for run in members.values()]):.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{run.folder}: {r['error']}" for run, r in found.items() if "error" in r]
    return "\n".join(lines)


def spread(values: list[float], form: str = ".3f") -> str:
    """Mean, and the standard deviation of several."""
    if not values:
        return ""
    mean = format(float(np.mean(values)), form)
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def timed(setup: Setup, found: dict[Run, dict[str, Any]], rounds: int) -> dict[Run, float]:
    """Latency of every network as a share of the dense one's, all timed in turn; weights do not matter to time."""
    specs: dict[str, ModelSpec] = {}
    for run, result in found.items():
        specs[str(run.folder)] = ModelSpec.model_validate(result["spec"])
    distinct = dict(_distinct(specs))
    reference = next(name for name, run in ((str(r.folder), r) for r in found) if run.name == "start")
    order = {key: specs[key] for key in dict.fromkeys([distinct[reference], *distinct.values()])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = {key: opened(Detector(spec).eval(), spec.imgsz, setup.threads) for key, spec in order.items()}
    times = in_turn(calls, rounds, clock=clock_of(setup.threads))
    return {run: 1 / times[distinct[str(run.folder)]].speedup for run in found}


def _distinct(specs: dict[str, ModelSpec]) -> Iterator[tuple[str, str]]:
    """Each name with the first that has the same architecture."""
    first: dict[str, str] = {}
    for name, spec in specs.items():
        form = json.dumps([spec.model_dump(mode="json")[k] for k in ("layers", "widths", "imgsz", "removed", "biased")])
        yield name, first.setdefault(form, name)


if __name__ == "__main__":
    main()
