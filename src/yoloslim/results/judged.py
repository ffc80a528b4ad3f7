"""Stored detections, compared with the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.voc import VocSplit
from yoloslim.evaluation.evaluate import Evaluation, score
from yoloslim.files import read_json
from yoloslim.results.records import Row


@dataclass(frozen=True)
class Judged:
    """A row's detections on the test images, compared with the truth.

    Attributes:
        row: the model.
        found: detections (n, 6) of every image of the split, best first.
        evaluation: metrics and curves, in PyTorch at fp32.
    """

    row: Row
    found: list[NDArray[np.float32]]
    evaluation: Evaluation


def judge_rows(rows: Sequence[Row], split: VocSplit) -> list[Judged]:
    """Evaluate the stored detections of every row that has them, without running a model."""
    judged = []
    for row in rows:
        if row.detections:
            by_name = stored_detections(row.detections)
            found = [by_name.get(name, np.zeros((0, 6), np.float32)) for name in split.ids]
            judged.append(Judged(row, found, score(split.annotations, found, split.classes)))
    return judged


def stored_detections(path: Path) -> dict[str, NDArray[np.float32]]:
    """Image name -> boxes (n, 6): `xyxy` in pixels, score, class; as the trainings write them."""
    stored = read_json(path)
    pairs = zip(stored["ids"], stored["detections"], strict=True)
    return {name: np.array(boxes, np.float32).reshape(-1, 6) for name, boxes in pairs}
