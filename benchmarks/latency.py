"""Latency of several networks in ONNX Runtime, timed in turn so that the noise of a shared machine hits all alike."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from yoloslim.evaluation.predictor.onnxruntime import open_session
from yoloslim.models.detector import Detector, fuse


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one network, and how many times faster than the first it is, paired turn by turn."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    speedup: float


def interleaved(networks: dict[str, Detector], imgsz: int, rounds: int, threads: int) -> dict[str, Latency]:
    """Time networks as ONNX, batch 1, BatchNorm fused, one call each in turn; the first is the reference."""
    return in_turn({name: opened(network, imgsz, threads) for name, network in networks.items()}, rounds)


def opened(network: Detector, imgsz: int, threads: int) -> Callable[[], object]:
    """A call of a network on one image, as ONNX, BatchNorm fused."""
    x = np.random.default_rng(0).random((1, 3, imgsz, imgsz), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        torch.onnx.export(
            fuse(network), (torch.from_numpy(x),), str(path), dynamo=False, opset_version=13, input_names=["images"]
        )
        session = open_session(path, threads)
    return partial(session.run, None, {"images": x})


def clock_of(threads: int) -> Callable[[], float]:
    """What a runtime is timed by: with one thread by the time that the thread computes, whatever runs beside it."""
    return time.thread_time if threads == 1 else time.perf_counter


def in_turn(
    calls: dict[str, Callable[[], object]],
    rounds: int,
    warmup: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Time calls, one of each a round; the first is the reference.

    Each round has an order of its own, and each timed call follows one of its own kind, as in use: else it would
    find its threads asleep and its weights out of the cache, which costs a fast network most.
    """
    times, order = np.zeros((warmup + rounds, len(calls))), np.random.default_rng(0)
    functions = list(calls.values())
    for row in times:
        for i in order.permutation(len(functions)):
            functions[i]()
            start = clock()
            functions[i]()
            row[i] = (clock() - start) * 1000
    times = times[warmup:]
    median, p10, p90 = (np.percentile(times, q, axis=0) for q in (50, 10, 90))
    speedup = np.median(times[:, :1] / times, axis=0)
    return {name: Latency(median[i], p10[i], p90[i], speedup[i]) for i, name in enumerate(calls)}
