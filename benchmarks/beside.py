"""Other work beside `eval`, `prune` and stage `data`: `python -m benchmarks.beside MODEL ../shared/data/bccd.tar`.

Each with the number of threads that it chooses, and with fixed ones, in processes that take turns; pieces of some
seconds: 64 images of the test set in PyTorch, Taylor scores over 32 images and a certified cut to 50 %, 150 images
prepared. `--jobs` and `--beside` name some of them.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.shares import CONTEXT, beside, others

WARM_UP = 1
Job = Callable[[Path, Path, int], Callable[[], object]]
"""Makes a piece of work of a model, a folder with the prepared set, and threads; 0 leaves these to the job."""


def an_eval(model: Path, folder: Path, threads: int) -> Callable[[], object]:
    from yoloslim.deploy.runtimes import open_predictor
    from yoloslim.evaluation.inference import PredictorInference
    from yoloslim.evaluation.nms import NmsOptions
    from yoloslim.tasks.evaluate_dataset import evaluate_dataset

    inference = PredictorInference(open_predictor(model, "pytorch", threads or None), NmsOptions(), threads or None)
    return lambda: evaluate_dataset(inference, folder / "voc", "few")


def a_prune(model: Path, folder: Path, threads: int) -> Callable[[], object]:
    from yoloslim.models.foreign.load import read_model
    from yoloslim.prune_request import PruneRequest
    from yoloslim.pruning.certified_cut import prune
    from yoloslim.tasks.sample import sample_of

    network = read_model(model)

    def work() -> None:
        with sample_of(folder / "voc", "voc", network, 32) as sample:
            scores = sample.scores(network, "taylor")
            prune(network, PruneRequest(percent=50, imgsz=network.spec.imgsz), sample.images[:8], scores=scores)

    return work


def a_data_stage(_: Path, folder: Path, threads: int) -> Callable[[], object]:
    from yoloslim.config import DataParams
    from yoloslim.data.prepare import prepare

    out = folder / f"out-{threads}"

    def work() -> None:
        shutil.rmtree(out, ignore_errors=True)
        prepare(DataParams(source="voc", path=str(folder / "part"), workers=threads), out)

    return work


JOBS: dict[str, Job] = {"eval": an_eval, "prune": a_prune, "data": a_data_stage}


def serve(job: str, model: Path, folder: Path, threads: int, turns: Connection) -> None:
    """Do the work once for each message that comes, answered with its seconds."""
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    work = JOBS[job](model, folder, threads)
    while True:
        turns.recv()
        start = time.perf_counter()
        work()
        turns.send(time.perf_counter() - start)


def in_turns(job: str, model: Path, folder: Path, choices: tuple[int, ...], turns: int) -> list[float]:
    """Median seconds by number of threads."""
    pipes, processes = [], []
    for threads in choices:
        mine, theirs = CONTEXT.Pipe()
        pipes.append(mine)
        processes.append(CONTEXT.Process(target=serve, args=(job, model, folder, threads, theirs), daemon=True))
        processes[-1].start()
    found = np.zeros((WARM_UP + turns, len(choices)))
    try:
        for turn in range(WARM_UP + turns):
            for i in np.random.default_rng(turn).permutation(len(choices)):
                pipes[i].send(None)
                found[turn, i] = pipes[i].recv()
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [float(value) for value in np.median(found[WARM_UP:], 0)]


def made_ready(pack: Path, folder: Path) -> None:
    """The prepared set, a small image set of it, and a part of it as a set of its own."""
    from benchmarks.training import bccd

    bccd(pack, folder)
    sets = folder / "voc/ImageSets/Main"
    (sets / "few.txt").write_text("".join((sets / "test.txt").open().readlines()[:64]))
    for name in (sets / "train.txt").read_text().split()[:150]:
        for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            (folder / "part" / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "voc" / kind / f"{name}.{suffix}", folder / "part" / kind)


def main() -> None:
    """Measure and print one row for each job and other program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model file that was trained on the set")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--beside", nargs="+", help="which of the other programs; none: nothing")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    from yoloslim.cores import usable_cores

    cores = usable_cores()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made_ready(arguments.pack, folder)
        work = others(cores, folder)
        print(f"| job | beside | chosen, s | 1 thread | {cores} threads | best fixed / chosen |", flush=True)
        print("|:--|:--|--:|--:|--:|--:|", flush=True)
        for what in arguments.beside or work:
            with beside(work[what]):
                for job in arguments.jobs:
                    seconds = in_turns(job, arguments.model, folder, (0, 1, cores), arguments.turns)
                    listed = " | ".join(f"{each:.2f}" for each in seconds)
                    print(f"| {job} | {what} | {listed} | {min(seconds[1:]) / seconds[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
