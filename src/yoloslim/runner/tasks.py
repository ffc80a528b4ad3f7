"""What `detect`, `speed` and `eval` do, on a board and on a desk alike, over any inference from file to detections."""

from __future__ import annotations

import resource
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .errors import RunnerError
from .output import Output

STAGES = ("decode", "resize", "inference", "postprocess", "end_to_end")
QUANTILES = (50, 90, 99)
_AHEAD = 8
"""Images decoded ahead of the one that is being run."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Inference(ABC):
    """From an image file to its detections, in four steps; what a runtime must bring to run the tasks.

    Attributes:
        backend: runtime and device that every number is labelled with.
        classes: names, by label.
        together: canvases that `infer_all` is fastest with.
    """

    backend: str
    classes: Sequence[str]
    together = 1

    @abstractmethod
    def read(self, path: Path) -> np.ndarray:
        """The file as RGB (H, W, 3); a RunnerError if it cannot be read."""

    @abstractmethod
    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, Any]:
        """The letterboxed canvas (S, S, 3), and where the image lies on it."""

    def load(self, path: Path) -> tuple[np.ndarray, np.ndarray, Any]:
        """The file's image, its canvas, and where it lies on that; a RunnerError if it cannot be read."""
        image = self.read(path)
        return (image, *self.prepare(image))

    @abstractmethod
    def infer(self, canvas: np.ndarray) -> list[np.ndarray]:
        """Raw outputs (1, ...) by level of one canvas."""

    def infer_all(self, canvases: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """Raw outputs as `infer` gives them for each of several canvases; here one after the other."""
        return [self.infer(canvas) for canvas in canvases]

    def share_cores(self) -> int:
        """Prepare for `infer` and `find` in several threads at once: how many, 1 where the runtime takes turns.

        Called first where they are started, and then in each of them.
        """
        return 1

    @abstractmethod
    def find(self, heads: list[np.ndarray], place: Any) -> np.ndarray:
        """Detections (n, 6) in pixels of the image: `xyxy`, score, class; best first."""


def detections(
    inference: Inference, paths: Sequence[Path], skip: Callable[[Path, RunnerError], None] | None = None
) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Every file with its image and its detections (n, 6), in order; files are decoded ahead in threads.

    Where the runtime allows it, whole images are worked on side by side, one a core. A file that cannot be read ends
    it, or is handed to `skip` and left out.
    """
    workers = inference.share_cores()

    def load(path: Path) -> Any:
        try:
            image, canvas, place = inference.load(path)
        except RunnerError as error:
            return error
        if workers == 1:
            return image, canvas, place
        return image, inference.find(inference.infer(canvas), place)

    with ThreadPoolExecutor(max(2, workers), initializer=inference.share_cores) as pool:
        for path, loaded in ahead(pool, load, paths):
            if isinstance(loaded, RunnerError):
                if skip is None:
                    raise loaded
                skip(path, loaded)
                continue
            if workers == 1:
                image, canvas, place = loaded
                yield path, image, inference.find(inference.infer(canvas), place)
            else:
                yield (path, *loaded)


def boxes_of(inference: Inference, paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Detections (n, 6) of every file, in order, as `detections` finds them: for those who need no images.

    So many are computed in a call as the runtime is fastest with, and no image is kept longer than its canvas.

    Raises:
        RunnerError: a file that cannot be read.
    """
    workers, most = inference.share_cores(), inference.together

    def compute(loaded: list[tuple[np.ndarray, Any]]) -> list[np.ndarray]:
        heads = inference.infer_all([canvas for canvas, _ in loaded])
        return [inference.find(mine, place) for mine, (_, place) in zip(heads, loaded)]

    def load(portion: Sequence[Path]) -> list[Any]:
        loaded = [inference.load(path)[1:] for path in portion]
        return loaded if workers == 1 else compute(loaded)

    portions = (paths[start : start + most] for start in range(0, len(paths), most))
    with ThreadPoolExecutor(max(2, workers), initializer=inference.share_cores) as pool:
        for _, found in ahead(pool, load, portions, max(2, workers) + 1):
            yield from found if workers > 1 else compute(found)


def draw_detections(
    inference: Inference, paths: Sequence[Path], output: Output, warn: Callable[[str], None]
) -> tuple[dict[str, np.ndarray], str]:
    """Write every image with its boxes; those that cannot be read are told to `warn` and left out.

    What pictures do not show as it is, a name without a font or without room, `warn` is told too.

    Returns:
        File name -> detections (n, 6), and a sentence that names what could not be read, empty if all could.

    Raises:
        RunnerError: the disk refused, or the images are in the folder that is written to.
    """
    found: dict[str, np.ndarray] = {}
    unreadable: list[str] = []
    if output.folder.resolve() in [folder.resolve() for folder in {path.parent for path in paths}]:
        raise RunnerError(
            "usage",
            f"{output.folder} holds the images, which pictures with boxes would replace: write to another folder",
        )

    def skip(path: Path, error: RunnerError) -> None:
        warn(str(error))
        unreadable.append(path.name)

    for path, image, rows in detections(inference, paths, skip):
        name = free_name(path, found)
        found[name] = output.keep(rows)
        output.picture(name, image, found[name])
    for remark in output.remarks():
        warn(remark)
    if not unreadable:
        return found, ""
    names = ", ".join(unreadable[:5]) + (" ..." if len(unreadable) > 5 else "")
    return found, (
        f"{len(unreadable)} of {len(paths)} images could not be read: {names}; the other {len(found)} are in "
        f"{output.folder}"
    )


def free_name(path: Path, taken: Container[str]) -> str:
    """File name for a result: the image's own, numbered where it is taken; odd formats become PNG."""
    suffix = path.suffix if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".webp") else ".png"
    name, number = path.stem + suffix, 1
    while name in taken:
        number += 1
        name = f"{path.stem}-{number}{suffix}"
    return name


def measure(inference: Inference, paths: Sequence[Path], warmup: int = 5) -> dict[str, Any]:
    """Time every stage, image by image, one after the other; nothing is written.

    Args:
        inference: what to time.
        paths: image files, at least one.
        warmup: whole passes over the first image before the clock starts.

    Returns:
        `images`; `stages`: stage -> {p50, p90, p99} in milliseconds; latency_ms and latency_p90_ms of the inference;
        `fps`, images a second end to end; `fps_inference`; `fps_slowest`, what the slowest stage alone would allow;
        `peak_memory_mb` of the process, 1e6 bytes; `backend`.
    """
    for _ in range(warmup):
        _timed(inference, paths[0])
    times = np.array([_timed(inference, path) for path in paths])
    stages = {name: {f"p{q}": float(np.percentile(times[:, i], q)) for q in QUANTILES} for i, name in enumerate(STAGES)}
    totals = times.sum(axis=0)
    return {
        "backend": inference.backend,
        "images": len(paths),
        "stages": stages,
        "latency_ms": stages["inference"]["p50"],
        "latency_p90_ms": stages["inference"]["p90"],
        "fps": 1e3 * len(paths) / float(totals[-1]),
        "fps_slowest": 1e3 * len(paths) / float(totals[:-1].max()),
        "fps_inference": 1e3 * len(paths) / float(totals[STAGES.index("inference")]),
        "peak_memory_mb": peak_memory_mb(),
    }


def measure_overlapped(inference: Inference, paths: Sequence[Path]) -> float:
    """Images a second from file to detections as `detect` works: images are decoded while others are run.

    Threads that the runtime was given are shared out between images, so measure what needs them first.
    """
    start = time.perf_counter()
    count = sum(1 for _ in detections(inference, paths))
    return count / (time.perf_counter() - start)


def speed_lines(result: dict[str, Any]) -> list[str]:
    """What `measure` returned, as lines for a terminal."""
    lines = [f"{result['images']} images, one at a time, on {result['backend']}"]
    lines.append(f"{'ms':12}" + "".join(f"{f'p{q}':>9}" for q in QUANTILES))
    for name in STAGES:
        stage = result["stages"][name]
        lines.append(f"{name.replace('_', '-'):12}" + "".join(f"{stage[f'p{q}']:9.2f}" for q in QUANTILES))
    lines.append(
        "throughput: {:.1f} images/s end to end, {:.1f} inference alone".format(result["fps"], result["fps_inference"])
    )
    if "fps_overlapped" in result:
        lines.append(
            "overlapped, as detect works: {:.1f} images/s; the slowest part alone: {:.1f}".format(
                result["fps_overlapped"], result["fps_slowest"]
            )
        )
    lines.append("peak memory: {:.0f} MB".format(result["peak_memory_mb"]))
    return lines


def peak_memory_mb() -> float:
    """The most memory this process has held, 1e6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _timed(inference: Inference, path: Path) -> list[float]:
    """Milliseconds of every stage of one image."""
    clock = [time.perf_counter()]
    image = inference.read(path)
    clock.append(time.perf_counter())
    canvas, place = inference.prepare(image)
    clock.append(time.perf_counter())
    heads = inference.infer(canvas)
    clock.append(time.perf_counter())
    inference.find(heads, place)
    clock.append(time.perf_counter())
    return [1e3 * (b - a) for a, b in zip(clock, clock[1:])] + [1e3 * (clock[-1] - clock[0])]


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[_Item], _Result], items: Iterable[_Item], most: int = _AHEAD
) -> Iterator[tuple[_Item, _Result]]:
    """`function` of every item, in order, with at most so many of them computed ahead."""
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(function, item)))
        if len(waiting) > most:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()
