"""What shares of a batch are worth: `python -m benchmarks.shares ../shared/data/bccd.tar` (some 10 minutes).

On a CPU, 320 px, batch 16: the whole steps of `fit`, real data and augmentation included, once with all threads at the
whole batch, once with one thread, once in shares of 8 (`train.share`). Each trains in a process of its own; they take
turns of a few steps, so whatever slows the machine hits all alike. Then the same beside other programs: a busy loop,
one for each core, another training with all threads, a compile job of one process a core.
"""

import argparse
import multiprocessing
import os
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.instruments import BATCH, IMGSZ, MOSAIC, memory_of_tree

STEPS, WARM_UP = 4, 2
"""Steps of a turn, and turns that do not count."""
CONTEXT = multiprocessing.get_context("spawn")


class Way(NamedTuple):
    """How a training uses the cores."""

    share: int
    threads: int


def ways(cores: int) -> dict[str, Way]:
    return {
        f"whole batch, {cores} threads": Way(0, cores),
        "whole batch, 1 thread": Way(0, 1),
        f"shares of 8, {cores} threads": Way(8, cores),
    }


def train(name: str, way: Way, folder: Path, turns: Connection | None) -> None:
    """Train for ever; with `turns`, some steps for each message that comes, which are answered with (seconds, MB)."""
    os.environ["OMP_NUM_THREADS"] = str(way.threads)
    import torch

    from yoloslim.config import BaselineParams
    from yoloslim.data.trainset import load_train_set
    from yoloslim.data.voc import load_split
    from yoloslim.models.detector import build_detector
    from yoloslim.training.callback import Callback, State
    from yoloslim.training.fit import Task, fit

    torch.set_num_threads(way.threads)
    torch.manual_seed(0)
    split = load_split(folder / "voc", "train")

    class Turns(Callback):
        done, since = 0, 0.0

        def after_step(self, state: State) -> None:
            if turns is None or len(state.images) != BATCH:
                return
            if self.done % STEPS == 0:
                if self.done:
                    turns.send((time.perf_counter() - self.since, memory_of_tree()))
                turns.recv()
                self.since = time.perf_counter()
            self.done += 1

    setting = MOSAIC.model_copy(update={"share": way.share, "threads": way.threads})
    phase = BaselineParams(optimizer="SGD", momentum=0.937, lr0=1e-4, epochs=9999)
    images = load_train_set(split, IMGSZ, folder / "cache")
    model = build_detector(name, split.classes, IMGSZ)
    fit(Task(model, images, lambda _: {"map50": 0.0, "map50_95": 0.0}, setting, phase, callbacks=(Turns(),)))


def burn() -> None:
    while True:
        pass


def compile_library() -> None:
    """Compile the standard library, over and over: many short pieces of work, and files."""
    while True:
        for path in Path(sysconfig.get_paths()["stdlib"]).glob("*.py"):
            compile(path.read_bytes(), str(path), "exec")


Work = list[tuple[Callable[..., None], tuple[object, ...]]]


def others(cores: int, folder: Path) -> dict[str, Work]:
    """What other programs may do meanwhile; a folder with the prepared set."""
    return {
        "nothing": [],
        "a busy loop": [(burn, ())],
        f"{cores} busy loops": [(burn, ())] * cores,
        "another training": [(train, ("yolov5n", Way(0, cores), folder, None))],
        f"a compile job of {cores}": [(compile_library, ())] * cores,
    }


@contextmanager
def beside(work: Work) -> Iterator[None]:
    """Other programs, as long as it takes."""
    others = [CONTEXT.Process(target=what, args=arguments, daemon=True) for what, arguments in work]
    for other in others:
        other.start()
    try:
        if others:
            time.sleep(20)  # a training has to begin before it disturbs
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def in_turns(name: str, choices: Mapping[str, Way], folder: Path, turns: int) -> dict[str, tuple[float, float]]:
    """Way -> images a second (median of the turns), and peak memory in MB."""
    pipes, processes = {}, []
    for key, way in choices.items():
        pipes[key], theirs = CONTEXT.Pipe()
        processes.append(CONTEXT.Process(target=train, args=(name, way, folder, theirs), daemon=True))
        processes[-1].start()
    found: dict[str, list[tuple[float, float]]] = {key: [] for key in choices}
    try:
        for turn in range(WARM_UP + turns):
            for key in np.random.default_rng(turn).permutation(list(choices)):
                pipes[key].send(None)
                found[key].append(pipes[key].recv())
    finally:
        for process in processes:
            process.kill()
            process.join()
    table = {key: np.array(rows[WARM_UP:]) for key, rows in found.items()}
    return {key: (STEPS * BATCH / float(np.median(rows[:, 0])), float(rows[:, 1].max())) for key, rows in table.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--models", nargs="+", default=("yolov5n", "yolov5s"))
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--beside", nargs="+", help="which of the other programs; none: nothing")
    arguments = parser.parse_args()
    from benchmarks.training import bccd
    from yoloslim.cores import usable_cores

    cores = usable_cores()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bccd(arguments.pack, folder)
        work = others(cores, folder)
        print(
            f"| model | beside | {' | '.join(ways(cores))} | shares / whole batch | memory, whole batch; shares, MB |"
        )
        print("|:--|:--|--:|--:|--:|--:|--:|")
        for model in arguments.models:
            for what in arguments.beside or work:
                with beside(work[what]):
                    found = in_turns(model, ways(cores), folder, arguments.turns)
                speeds, memory = zip(*found.values(), strict=True)
                rates = " | ".join(f"{speed:.1f}" for speed in speeds)
                print(
                    f"| {model} | {what} | {rates} | {speeds[2] / speeds[0]:.2f} | {memory[0]:.0f}, {memory[2]:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
