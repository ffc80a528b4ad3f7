"""Latency of a predictor: bytes in, raw heads out; decoding and suppression are not in it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from yoloslim.errors import ConfigError
from yoloslim.evaluation.other_work import OtherWork, disturbed, while_others
from yoloslim.evaluation.predictor import Predictor
from yoloslim.torch_threads import threads_kept

logger = logging.getLogger(__name__)

LONG_S = 1.0
"""Calls before the first that counts that take longer tell well enough whether other programs are at work."""
FEW = 5
"""Calls that count beside those: threads that spin while they wait for one another may take a hundred times as long."""
BELIEVED = 2.0
"""Factor by which a speed-up that was timed beside other programs may differ from the one by the fastest calls."""

Times = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
"""Milliseconds, a line for each turn, a column for each predictor."""


def measure_latency(
    predictor: Predictor,
    batch: int = 1,
    warmup: int = 5,
    repeats: int = 30,
    threads: int | None = None,
) -> dict[str, float]:
    """Time `predict` on seeded noise, call by call.

    Args:
        predictor: the runtime to time.
        batch: images a call.
        warmup: calls before the first that counts.
        repeats: calls that count; five do where other programs made the calls before them take more than a second.
        threads: CPU threads; None leaves the predictor as it is.

    Returns:
        latency_ms (the median, milliseconds a call), latency_p50_ms (the same), latency_p90_ms,
        fps = batch * 1000 / latency_ms, latency_batch, latency_other_cores (what other programs used meanwhile, see
        OtherWork), and latency_threads where they were given.
    """
    if batch < 1 or repeats < 1:
        raise ConfigError(f"batch={batch}, repeats={repeats}: both must be at least 1")
    images = np.random.default_rng(0).integers(0, 256, (batch, predictor.imgsz, predictor.imgsz, 3), dtype=np.uint8)
    with threads_kept():
        if threads is not None:
            predictor.set_threads(threads)
        with OtherWork() as others:
            with OtherWork() as before:
                spent_ms = sum(_timed(predictor, images) for _ in range(warmup))
            if spent_ms > LONG_S * 1000 and disturbed(before.cores):
                repeats = min(repeats, FEW)
            times = [_timed(predictor, images) for _ in range(repeats)]
    p50, p90 = (float(value) for value in np.percentile(times, [50, 90]))
    result = {
        "latency_ms": p50,
        "latency_p50_ms": p50,
        "latency_p90_ms": p90,
        "fps": batch * 1000 / p50,
        "latency_batch": batch,
        "latency_other_cores": round(others.cores, 2),
    }
    if disturbed(others.cores):
        logger.warning("%s: latency %.2f ms, while %s", predictor.backend, p50, while_others(others.cores))
    return result if threads is None else {**result, "latency_threads": threads}


def measure_speedup(predictor: Predictor, reference: Predictor, warmup: int = 5, repeats: int = 30) -> float:
    """How many times faster a predictor is than another, image by image in turn.

    Times taken minutes apart on a shared machine differ by more than pruning saves; the median of paired ratios
    does not. Each timed call follows one of its own predictor, as in use: else it would find the other's weights in
    the cache, which costs a large model most.

    Args:
        predictor: the one in question.
        reference: what it is compared with, usually the dense model on the same runtime.
        warmup: turns before the first that counts.
        repeats: turns that count.
    """
    pair = (predictor, reference)
    images = [np.random.default_rng(0).integers(0, 256, (1, p.imgsz, p.imgsz, 3), dtype=np.uint8) for p in pair]

    def timed_again(number: int) -> float:
        pair[number].predict(images[number])
        return _timed(pair[number], images[number])

    times = np.array([[timed_again(0), timed_again(1)] for _ in range(warmup + repeats)])
    return float(np.median(times[warmup:, 1] / times[warmup:, 0]))


def measure_in_turn(
    predictors: Mapping[str, Predictor],
    reference: str,
    warmup: int = 5,
    repeats: int = 30,
    clock: Callable[[], float] | None = None,
) -> dict[str, dict[str, float]]:
    """Time several predictors in one session, so that their latencies and speed-ups agree with each other.

    Each turn calls all of them once, in an order of its own; each timed call follows one of its own predictor. A
    latency is what the predictor takes while the reference takes its median: beside other programs medians by
    themselves say now and then that the faster of two is the slower.

    Args:
        predictors: by name.
        reference: name of the one that speed-ups are against.
        warmup: turns before the first that counts.
        repeats: turns that count.
        clock: seconds; None is the wall's.

    Returns:
        For each: speedup (median of the paired ratios), latency_ms (the reference's median over that), latency_p50_ms
        (the same), latency_p90_ms, fps = 1000 / latency_ms, latency_other_cores of the whole session, and
        latency_session, the number of predictors in it.
    """
    times, others = _in_turn(predictors, warmup, repeats, clock)
    return _of_session(list(predictors), reference, times, others)


def measure_against(
    predictor: Predictor, reference: Predictor, warmup: int = 5, repeats: int = 30
) -> dict[str, float | str]:
    """Time a predictor in turn with what it is compared with, and once more where what came out cannot be right.

    Beside other programs threads that wait for one another take a hundred times as long, in some calls or in most: then
    the speed-up by the median of the pairs is another than that by the fastest calls, and neither is the predictor's.

    Args:
        predictor: the one in question.
        reference: usually the dense model on its usual runtime.
        warmup: turns before the first that counts.
        repeats: turns that count.

    Returns:
        As `measure_in_turn` for the one in question; or, where both sessions were disturbed and told nothing,
        latency_unknown alone, which says why there is no latency.
    """
    pair = {predictor.backend: predictor, "the dense model": reference}
    for _ in range(2):
        times, others = _in_turn(pair, warmup, repeats)
        found = _of_session(list(pair), "the dense model", times, others)[predictor.backend]
        fastest = times.min(axis=0)
        by_fastest, by_median = float(fastest[1] / fastest[0]), found["speedup"]
        if not disturbed(others) or max(by_fastest / by_median, by_median / by_fastest) <= BELIEVED:
            return {**found}
    said = f"its calls say {by_median:.3g} times as fast as the dense model by their median, {by_fastest:.3g} by the "
    said += f"fastest, while other programs used {others:.1f} core(s)"
    logger.warning("%s: no latency, since %s", predictor.backend, said)
    return {"latency_unknown": said}


def _in_turn(
    predictors: Mapping[str, Predictor], warmup: int, repeats: int, clock: Callable[[], float] | None = None
) -> tuple[Times, float]:
    """Milliseconds, a line for each turn that counts, and the cores that other programs used; see `measure_in_turn`."""
    names, order = list(predictors), np.random.default_rng(0)
    images = {
        name: np.random.default_rng(0).integers(0, 256, (1, p.imgsz, p.imgsz, 3), dtype=np.uint8)
        for name, p in predictors.items()
    }
    times = np.zeros((warmup + repeats, len(names)))
    with OtherWork() as others:
        for turn in times:
            for number in order.permutation(len(names)):
                name = names[number]
                predictors[name].predict(images[name])
                turn[number] = _timed(predictors[name], images[name], clock)
    return times[warmup:], others.cores


def _of_session(names: Sequence[str], reference: str, times: Times, others: float) -> dict[str, dict[str, float]]:
    """What such a session tells of each; see `measure_in_turn`."""
    paired = times[:, [names.index(reference)]]
    speedups = np.median(paired / times, axis=0)
    if disturbed(others):
        logger.warning("latencies of %s, while %s", ", ".join(names), while_others(others))
    found = {}
    for number, name in enumerate(names):
        p50 = float(np.median(paired) / speedups[number])
        p90 = max(p50, float(np.percentile(times[:, number], 90)))
        found[name] = {
            "latency_ms": p50,
            "latency_p50_ms": p50,
            "latency_p90_ms": p90,
            "fps": 1000 / p50,
            "speedup": float(speedups[number]),
            "latency_other_cores": round(others, 2),
            "latency_session": len(names),
        }
    return found


def _timed(
    predictor: Predictor,
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    clock: Callable[[], float] | None = None,
) -> float:
    """Milliseconds of one call."""
    clock = clock or time.perf_counter
    start = clock()
    predictor.predict(images)
    return (clock() - start) * 1000
