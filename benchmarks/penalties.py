"""What a step costs under each penalty: `python -m benchmarks.penalties` (3 minutes on 2 quiet cores).

yolov5n, 320 px, batch 16, steps as a training takes them: forward, loss, backward, penalty, SGD, moving average, with
batches at hand. Trainings with each penalty take turns, step by step, in one process, so that whatever slows the
machine hits all alike; a ratio is of neighbours. Peak memory is that of a process each, which takes the same steps.
"""

import argparse
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from benchmarks.instruments import BATCH, IMGSZ, seconds_of
from yoloslim.config import SparseParams, TrainParams
from yoloslim.data.augment import Batch
from yoloslim.data.trainset import TrainSet
from yoloslim.models.detector import build_detector
from yoloslim.training.batches import Step
from yoloslim.training.launch import launch
from yoloslim.training.learner import Learner
from yoloslim.training.penalties import PENALTIES
from yoloslim.training.task import Task

NONE, EPOCHS, STEPS = "none", 10, 100
NAMES = (NONE, *PENALTIES)
NO_IMAGES = TrainSet(torch.empty(0), torch.empty(0), torch.empty(0), torch.empty(0))


def learner_of(penalty: str) -> Learner:
    """A training in its second epoch."""
    torch.manual_seed(0)
    model = build_detector("yolov5n", tuple(map(str, range(20))), IMGSZ)
    train = TrainParams(batch=BATCH, device="cpu")
    phase = SparseParams(epochs=EPOCHS) if penalty == NONE else SparseParams(epochs=EPOCHS, penalty=penalty)
    callbacks = () if penalty == NONE else (PENALTIES[penalty](model, "coupled", phase, None),)
    task = Task(model, NO_IMAGES, lambda _: {}, train, phase, callbacks=callbacks)
    learner = Learner(task, launch(train))
    learner.net.train()
    learner.state.steps, learner.state.epoch = STEPS, 1
    return learner


def steps(count: int) -> list[Step]:
    """Noise with four boxes an image."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, 3, IMGSZ, IMGSZ, generator=rng).contiguous(memory_format=torch.channels_last)
    number = torch.arange(BATCH).repeat_interleave(4)[:, None].float()
    label = torch.randint(0, 20, (len(number), 1), generator=rng).float()
    places = torch.rand(len(number), 4, generator=rng) * 0.4 + 0.3
    batch = Batch(images, torch.cat([number, label, places], 1))
    return [Step(i, BATCH, batch, updates=True) for i in range(count)]


def peak_mb(penalty: str, count: int) -> float:
    """Largest resident set of a process that takes so many steps.

    The kernel's `VmHWM`: `getrusage` of a process that another one started answers with that one's peak
    if it is higher.
    """
    learner = learner_of(penalty)
    for step in steps(count):
        learner.step(step)
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="of each penalty")
    arguments = parser.parse_args()
    learners = {name: learner_of(name) for name in NAMES}
    took: dict[str, list[float]] = {name: [] for name in NAMES}
    for step in steps(arguments.steps):
        for name in NAMES if step.index % 2 else NAMES[::-1]:  # nobody always comes first
            took[name].append(seconds_of(partial(learners[name].step, step)))
    times = {name: np.array(values[5:]) for name, values in took.items()}
    print("| penalty | a step, ms | as a ratio to none, 10 % to 90 % | peak memory, MB |\n|:--|--:|:--|--:|")
    for name in NAMES:
        middle, low, high = np.percentile(times[name] / times[NONE], (50, 10, 90))
        with get_context("spawn").Pool(1) as pool:
            memory = pool.apply(peak_mb, (name, 10))
        print(
            f"| {name} | {1000 * np.median(times[name]):.0f} | {middle:.3f} ({low:.3f} to {high:.3f}) | {memory:.0f} |"
        )


if __name__ == "__main__":
    main()
