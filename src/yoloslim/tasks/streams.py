"""Tasks `detect` and `speed` of videos and cameras, several at once: threads decode and resize, compute, and write."""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yoloslim.boxes import Letterbox
from yoloslim.errors import ConfigError, DataError
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.files import spare_inputs
from yoloslim.runner.output import Output, free
from yoloslim.runner.tasks import ahead
from yoloslim.tasks.feeds import Feed, Frame, rounds
from yoloslim.tasks.film import Film, NoRoomError
from yoloslim.tasks.sources import is_stream, stem_of
from yoloslim.tasks.splice import LEAST, Rows, Tiles, read_tile

logger = logging.getLogger(__name__)

Numbered = tuple[int, Frame]
Found = list[tuple[int, Frame, Rows]]

SOON_S = 3.0
"""How long streams are waited for in silence."""


@dataclass(frozen=True)
class Way:
    """How frames reach the network.

    Attributes:
        batch: frames a call.
        tile: rows and columns of the picture that streams are spliced into; None gives each frame a picture.
    """

    batch: int = 1
    tile: tuple[int, int] | None = None

    def __str__(self) -> str:
        """As on the command line."""
        if self.tile:
            return f"--tile {self.tile[0]}x{self.tile[1]}"
        return f"--batch {self.batch}"


def open_feeds(inference: PredictorInference, sources: Sequence[str], way: Way) -> tuple[list[Feed], list[str]]:
    """The streams that can be opened, all at a time, and a sentence for each that cannot.

    Raises:
        ConfigError: the tiles would be too small.
        DataError: none can.
    """
    _tiles(inference, way)  # refused before any is opened
    changed, feeds, failures = threading.Condition(), list[Feed](), list[str]()
    with ThreadPoolExecutor(len(sources)) as pool:
        opening = [pool.submit(Feed, source, changed) for source in sources]
        _, late = wait(opening, SOON_S)
        for source in (source for source, each in zip(sources, opening, strict=True) if each in late):
            logger.warning("%s does not answer yet; all begin when it does, or is given up", stem_of(source))
    for each in opening:
        try:
            feeds.append(each.result())
        except DataError as error:
            failures.append(str(error))
            if len(sources) > 1:
                logger.warning("%s; the other streams go on", error)
    if not feeds:
        raise DataError("; ".join(failures))
    return feeds, failures


def detections(
    inference: PredictorInference, feeds: Sequence[Feed], way: Way, limit: int | None = None
) -> Generator[Found, None, None]:
    """Frames of streams, each with its stream's number and its detections (n, 6) in its own pixels, in order.

    Decoding and resizing run in the streams' threads, the network in others: side by side where the runtime allows it.

    Args:
        inference: the model.
        feeds: the streams, opened for the same way.
        way: how frames reach the network.
        limit: frames a stream, at most.
    """
    workers, tiles = inference.share_cores(), _tiles(inference, way)
    if inference.batch and inference.batch < way.batch:
        logger.warning(
            "the graph takes %d image(s) a call: a batch of %d is computed in several; files of ONNX and OpenVINO take "
            "any number, exported with --batch 0 (export.batch: 0)",
            inference.batch,
            way.batch,
        )

    def work(frames: list[Numbered]) -> Found:
        if tiles:
            picture = tiles.splice([(frame.canvas, frame.place[0]) for _, frame in frames])
            everything = inference.find(inference.infer(picture), _whole(inference.imgsz))
            rows = [
                _own(divided, frame)
                for divided, (_, frame) in zip(
                    tiles.divide(everything, [number for number, _ in frames]), frames, strict=True
                )
            ]
        else:
            heads = inference.infer_all([frame.canvas for _, frame in frames])
            rows = [inference.find(head, frame.place) for head, (_, frame) in zip(heads, frames, strict=True)]
        return [(number, frame, found) for (number, frame), found in zip(frames, rows, strict=True)]

    for number, feed in enumerate(feeds):
        feed.start(partial(tiles.prepare, number) if tiles else inference.prepare)
    try:
        taken = rounds(feeds, limit)
        packed = taken if tiles else _batches(taken, way.batch)
        with ThreadPoolExecutor(workers, initializer=inference.share_cores) as pool:
            for _, found in ahead(pool, work, packed, 2 * workers):
                yield found
    finally:
        for feed in feeds:
            feed.stop()
        for feed in feeds:
            feed.wait()


def detect_streams(
    inference: PredictorInference, sources: Sequence[str], output: Output, way: Way, limit: int | None = None
) -> dict[str, int]:
    """Write every stream with its boxes as a video of its own, `NAME.mp4`; what is written is kept, whatever ends it.

    Returns:
        Frames written, boxes found.

    Raises:
        DataError: at the end, when streams could not be opened or failed, or the disk got full; names them.
        YoloslimError: a video could not be written.
    """
    for source in sources:
        if source.endswith(".mp4"):
            spare_inputs(output.folder / Path(source).name, Path(source))
    feeds, failures = open_feeds(inference, sources, way)
    total = {"images": 0, "boxes": 0}
    with ExitStack() as stack:
        names: list[str] = []
        for feed in feeds:
            names.append(free(feed.name, names))
        films = [stack.enter_context(Film(output, name, feed.fps)) for name, feed in zip(names, feeds, strict=True)]

        def write(found: Found) -> None:
            for number, frame, rows in found:
                kept = output.keep(rows)
                films[number].write(frame.image, kept)
                total["images"] += 1
                total["boxes"] += len(kept)

        with ThreadPoolExecutor(1) as writer, closing(detections(inference, feeds, way, limit)) as frames:
            last: Future[None] | None = None
            try:
                for found in frames:
                    if last:
                        last.result()  # one is written while the next is computed
                    last = writer.submit(write, found)
                if last:
                    last.result()
            except KeyboardInterrupt:
                if last:
                    last.result()
                logger.info("stopped after %d frames", total["images"])
            except NoRoomError as error:
                failures.append(f"{error}; stopped after {total['images']} frames")
        _say(feeds, films)
    for remark in output.remarks():
        logger.warning(remark)
    failures += [feed.failure for feed in feeds if feed.failure]
    if failures:
        kept = f"; what was written is in {output.folder}" if total["images"] else ""
        raise DataError(f"{'; '.join(failures)}{kept}")
    return total


def way_of(sources: Sequence[str], batch: int, tile: str | None) -> Way:
    """What the command line asks for.

    Raises:
        ConfigError: it cannot be had of these sources, or both are asked for.
    """
    if (batch > 1 or tile) and not all(is_stream(source) for source in sources):
        raise ConfigError(f"--batch and --tile are for videos and cameras, and {sources[0]} is none")
    if batch > 1 and tile:
        raise ConfigError(f"--batch {batch} and --tile {tile} cannot both be had; give one of them")
    return Way(batch, read_tile(tile, len(sources)) if tile else None)


def speed_of_streams(
    inference: PredictorInference, sources: Sequence[str], way: Way, limit: int, repeats: int = 3
) -> dict[str, Any]:
    """Frames a second of streams from file to boxes, nothing written, in turns that alternate.

    Returns:
        `backend`, `streams`, `frames` of each at most, and `fps`: way -> frames a second, the median of the turns; one
        by one, in a batch of as many frames as there are streams or as asked for, and in tiles if asked for.

    Raises:
        DataError: a stream cannot be opened or fails.
    """
    batch = way.batch if way.batch > 1 else len(sources)
    ways = dict.fromkeys([Way(), Way(batch), *([way] if way.tile else [])])
    times: dict[str, list[float]] = {str(each): [] for each in ways}
    for _ in range(repeats):
        for each in ways:
            feeds, failures = open_feeds(inference, sources, each)
            start = time.perf_counter()
            count = sum(len(found) for found in detections(inference, feeds, each, limit))
            seconds = time.perf_counter() - start
            failures += [feed.failure for feed in feeds if feed.failure]
            if failures:
                raise DataError("; ".join(failures))
            times[str(each)].append(count / seconds)
    fps = {name: float(np.median(values)) for name, values in times.items()}
    return {"backend": inference.backend, "streams": len(sources), "frames": limit, "fps": fps}


def _say(feeds: Sequence[Feed], films: Sequence[Film]) -> None:
    for feed, film in zip(feeds, films, strict=True):
        if feed.failure and len(feeds) > 1:
            logger.warning("%s", feed.failure)
        if feed.passed_over:
            logger.warning(
                "camera %s: %d frames came while earlier ones were computed and are left out; %d are written",
                feed.name,
                feed.passed_over,
                film.frames,
            )


def _batches(taken: Iterator[list[Numbered]], size: int) -> Iterator[list[Numbered]]:
    waiting: list[Numbered] = []
    for frames in taken:
        waiting += frames
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting


def _tiles(inference: PredictorInference, way: Way) -> Tiles | None:
    if not way.tile:
        return None
    tiles = Tiles(*way.tile, inference.imgsz, inference.fill)
    if tiles.least < LEAST:
        raise ConfigError(
            f"{way} leaves each stream {tiles.least} px of the model's {inference.imgsz}, and in fewer than {LEAST} "
            "nothing is found: ask for fewer cells, or export the model larger"
        )
    return tiles


def _whole(imgsz: int) -> tuple[Letterbox, int, int]:
    return Letterbox(1, 0, 0, imgsz, imgsz, imgsz), imgsz, imgsz


def _own(rows: Rows, frame: Frame) -> Rows:
    box, width, height = frame.place
    own: Callable[[Rows, int, int], Rows] = box.detections_to_image
    return own(rows, width, height)
