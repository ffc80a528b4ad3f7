"""What fused operations would save of a training step on a CPU: `python -m benchmarks.fusing` (some 3 minutes).

yolov5n, 320 px, one share of 8 images, bf16, channels last, one thread. Each way of doing a part takes turns with the
others and with the whole step (forward, a sum in place of the loss, backward); medians, and a way's gain over the
present one as a share of a batch: two such steps and one update.
"""

import copy
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.instruments import IMGSZ
from yoloslim.models.detector import Detector, build_detector
from yoloslim.training.optim import Ema, build_optimizer

SHARE, SHARES, ROUNDS, COMPILED = 8, 2, 30, 4
"""Images of a share, shares of a batch, rounds that count, and how many of the costliest shapes are compiled."""


def in_turns(jobs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each job."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(ROUNDS + 3):
        for name in np.random.default_rng(turn).permutation(list(jobs)):
            start = time.perf_counter()
            jobs[name]()
            taken[name].append(time.perf_counter() - start)
    return {name: 1e3 * float(np.median(times[3:])) for name, times in taken.items()}


def whole_step(model: Detector) -> Callable[[], None]:
    images = torch.rand(SHARE, 3, IMGSZ, IMGSZ).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            heads = model(images)
        sum(head.float().square().mean() for head in heads).backward()

    return step


def optimizers(model: Detector) -> dict[str, Callable[[], object]]:
    """SGD with a loop over weights, with lists of tensors, and in one kernel, as training has it."""
    found: dict[str, Callable[[], object]] = {}
    for way in ("loop", "foreach", "fused"):
        mine = copy.deepcopy(model)
        for weight in mine.parameters():
            weight.grad = torch.randn_like(weight)
        optimizer = build_optimizer(mine, "SGD", 1e-6, 0.9, 5e-4, fused=way == "fused")
        if way != "fused":
            for group in optimizer.param_groups:
                group["foreach"] = way == "foreach"
        found[f"SGD, {way}"] = optimizer.step
    return found


def averages(model: Detector) -> dict[str, Callable[[], object]]:
    """The moving average by lists of tensors, as training has it, and of weights that lie in one flat buffer."""
    average = Ema(model, 0.9999, 2000)
    count = sum(value.numel() for value in model.state_dict().values() if value.dtype.is_floating_point)
    mine, theirs = torch.rand(count), torch.rand(count)
    return {"average, lists": lambda: average.update(model), "average, flat": lambda: mine.lerp_(theirs, 1e-4)}


def activated(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    return nn.functional.silu(norm(x))


def norm_shapes(model: Detector) -> list[tuple[int, ...]]:
    """What arrives at each BatchNorm."""
    shapes: list[tuple[int, ...]] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    model(torch.rand(SHARE, 3, IMGSZ, IMGSZ))
    for hook in hooks:
        hook.remove()
    return shapes


def activations(shapes: list[tuple[int, ...]]) -> dict[str, Callable[[], object]]:
    """BatchNorm and SiLU of the costliest shapes, forward and backward, as they are and compiled into fused loops."""
    compiled = torch.compile(activated, dynamic=False)
    layers = []
    for shape in shapes:
        x = torch.rand(shape).to(torch.bfloat16).contiguous(memory_format=torch.channels_last).requires_grad_()
        layers.append((nn.BatchNorm2d(shape[1]), x, torch.rand_like(x)))

    def run(work: Callable[[nn.BatchNorm2d, Tensor], Tensor]) -> None:
        for norm, x, gradient in layers:
            work(norm, x).backward(gradient)  # type: ignore[no-untyped-call]

    return {"BatchNorm + SiLU": lambda: run(activated), "BatchNorm + SiLU, compiled": lambda: run(compiled)}


def main() -> None:
    """Measure and print one row a way."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_detector("yolov5n", ("a", "b", "c"), IMGSZ)
    shapes = norm_shapes(model)
    model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    costly = sorted(set(shapes), key=lambda shape: -shapes.count(shape) * int(np.prod(shape)))[:COMPILED]
    fused = [shape for shape in shapes if shape in costly]
    part = sum(map(np.prod, fused)) / sum(map(np.prod, shapes))
    print(f"compiled: {len(fused)} of {len(shapes)} BatchNorms, {100 * part:.0f} % of their values", flush=True)
    ways = {"step of a share": whole_step(model), **optimizers(model), **averages(model), **activations(fused)}
    found = in_turns(ways)
    batch = SHARES * found["step of a share"] + found["SGD, fused"] + found["average, lists"]
    print("| way | ms | times in a batch | share of a batch, % |\n|:--|--:|--:|--:|")
    for name, took in found.items():
        times = SHARES if name.startswith(("step", "Batch")) else 1
        print(f"| {name} | {took:.2f} | {times} | {100 * times * took / batch:.2f} |")


if __name__ == "__main__":
    main()
