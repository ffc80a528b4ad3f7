"""What training is timed with: bare steps that take turns with `fit`, clocks, and a memory gauge."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psutil
import torch
from torch import Tensor

from yoloslim.config import TrainParams
from yoloslim.data.augment import Augmenter
from yoloslim.models.detector import Detector
from yoloslim.training.callback import Callback, State

IMGSZ, BATCH = 320, 16
MOSAIC = TrainParams(share=0, batch=BATCH, mosaic=1.0, scale=0.5, hsv_s=0.7, hsv_v=0.4, val_every=10_000)


class BareStep:
    """Forward, loss, backward and SGD on one fixed batch: what no trainer can do without."""

    def __init__(self, model: Detector, fast: bool) -> None:
        self.net = copy.deepcopy(model).train()
        layout = torch.channels_last if fast else torch.contiguous_format
        self.net.to(memory_format=layout)  # type: ignore[call-overload]
        self.images = torch.rand(BATCH, 3, IMGSZ, IMGSZ).contiguous(memory_format=layout)
        self.loss = model.spec.loss(MOSAIC, torch.device("cpu"))
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
        self.context = torch.autocast("cpu", torch.bfloat16) if fast else nullcontext()

    def __call__(self, targets: Tensor) -> None:
        """Take one step."""
        with self.context:
            heads = self.net(self.images)
        loss, _ = self.loss(heads, targets)
        self.sgd.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.sgd.step()


class Turns(Callback):
    """After each step of `fit`, bare steps; notes what each took, in seconds of a clock."""

    def __init__(self, bare: dict[str, BareStep], clock: Callable[[], float] = time.perf_counter) -> None:
        self.bare, self.clock = bare, clock
        self.times: dict[str, list[float]] = {"whole": [], **{name: [] for name in bare}}
        self.since = 0.0

    def start(self, state: State) -> None:
        """See Callback."""
        self.since = self.clock()

    def after_step(self, state: State) -> None:
        """Time the step that is over, then the bare ones; the short last batch of an epoch does not count."""
        if len(state.images) == BATCH:
            self.times["whole"].append(self.clock() - self.since)
            for name, step in self.bare.items():
                self.times[name].append(seconds_of(lambda step=step: step(state.targets), self.clock))  # type: ignore[misc]
        self.since = self.clock()

    def after_epoch(self, state: State) -> dict[str, float]:
        """See Callback."""
        self.since = self.clock()
        return {}


class PeakMemory(Callback):
    """Proportional set size of the process and its children, MB."""

    peak = 0.0

    def after_step(self, state: State) -> None:
        """See Callback."""
        self.peak = max(self.peak, memory_of_tree())


def memory_of_tree() -> float:
    """Proportional set size of this process and its children, MB."""
    me = psutil.Process()
    return float(sum(p.memory_full_info().pss for p in (me, *me.children(recursive=True)))) / 1e6


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


def seconds_of(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start
