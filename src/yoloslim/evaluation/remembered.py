"""What a network finds before overlaps are suppressed, in a file: other thresholds of overlap need it no more."""

import logging
import os
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

import numpy as np

from yoloslim.boxes import Letterbox
from yoloslim.data.evalset import EvalSet, Part
from yoloslim.errors import YoloslimError
from yoloslim.evaluation.evaluate import Evaluation, check, detect_all, score
from yoloslim.evaluation.nms import Floats, NmsOptions, candidates, choose, detect
from yoloslim.evaluation.predictor import Predictor
from yoloslim.files import atomic_path

logger = logging.getLogger(__name__)

MOST_ROWS = 4_000_000
"""Candidates of a model that are kept at most, 96 MB: a large set of images and many classes have more."""
FOLDER_BYTES = 1_000_000_000
"""What all files of a folder may take; those that were not used for the longest time go first."""


Placed = tuple[Letterbox, Floats]
"""Where an image lies on its canvas, and its candidates (n, 6) there, best first."""


def evaluate_remembered(
    predictor: Predictor,
    eval_set: EvalSet,
    options: NmsOptions,
    batch: int = 32,
    rect: bool = False,
    *,
    file: Path,
    about: str,
) -> Evaluation:
    """What `evaluate` gives, from the candidates in a file where it has them; otherwise it has them afterwards.

    Args:
        predictor: the runtime.
        eval_set: letterboxed images with their truth.
        options: thresholds of suppression.
        batch: images a call of the predictor.
        rect: see `evaluate`.
        file: `.npz`, whose name tells all that candidates depend on: model, images, `conf_thres` and the like.
        about: whose candidates they are, for people.

    Raises:
        ConfigError: see `evaluate`.
    """
    check(predictor, eval_set, rect)
    known = _read(file, len(eval_set), about)
    if known is None:
        noted = _Noted(predictor, options)
        detections = detect_all(predictor, eval_set, options, batch, rect, noted.find)
        noted.write(file)
    else:
        detections = [
            letterbox.detections_to_image(choose(rows, predictor.head, options), image.width, image.height)
            for (letterbox, rows), image in zip(known, eval_set.annotations, strict=True)
        ]
    return score(eval_set.annotations, detections, eval_set.classes)


class _Noted:
    """Notes the candidates that detections are chosen from, as long as they are not too many."""

    def __init__(self, predictor: Predictor, options: NmsOptions) -> None:
        self._head, self._options = predictor.head, options
        self._found: dict[int, Placed] = {}
        self._rows = 0

    def find(self, part: Part, heads: Sequence[Floats]) -> list[Floats]:
        if self._rows > MOST_ROWS:
            return detect(heads, self._head, self._options)
        found = candidates(heads, self._head, self._options)
        self._rows += sum(map(len, found))
        if self._rows > MOST_ROWS:
            self._found.clear()
        self._found |= zip(part.numbers.tolist(), zip(part.letterboxes, found, strict=True), strict=True)
        return [choose(rows, self._head, self._options) for rows in found]

    def write(self, file: Path) -> None:
        """Where the disk refuses, they are found again the next time."""
        if not self._found or self._rows > MOST_ROWS:
            return
        letterboxes, rows = zip(*(self._found[number] for number in sorted(self._found)), strict=True)
        with suppress(OSError, YoloslimError):
            with atomic_path(file, sync=False) as temporary:
                np.savez(
                    temporary,
                    counts=np.array([len(each) for each in rows]),
                    letterboxes=np.array([astuple(each) for each in letterboxes]),
                    rows=np.concatenate(rows),
                )
            _make_room(file.parent)


def _read(file: Path, images: int, about: str) -> list[Placed] | None:
    """What is kept; None where there is nothing for so many images, or a file that is damaged."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            counts, places, rows = kept["counts"], kept["letterboxes"], kept["rows"]
        letterboxes = [Letterbox(float(scale), *map(int, sides)) for scale, *sides in places]
        found = list(zip(letterboxes, np.split(rows, np.cumsum(counts)[:-1]), strict=True))
        if len(found) != images or counts.sum() != len(rows):
            return None
        written = file.stat().st_mtime
        os.utime(file, (time.time(), written))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(written))
    logger.info("%s: boxes before suppression as found on %s; neither model nor images changed", about, when)
    return found


def _make_room(folder: Path) -> None:
    """Remove the files that were used last the longest time ago, until the others fit."""
    room = FOLDER_BYTES
    for file in sorted(folder.glob("*.npz"), key=lambda file: -file.stat().st_atime):
        room -= file.stat().st_size
        if room < 0:
            file.unlink(missing_ok=True)
