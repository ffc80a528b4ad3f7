"""What each peculiarity of a board does to mAP, predicted on the CPU, one at a time; each maker says what those are."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.images import read_image
from yoloslim.data.voc import VocSplit
from yoloslim.evaluation.evaluate import score

Image = NDArray[np.uint8]
Rows = NDArray[np.float32]


def predict_changes(
    effects: Iterable[str], find: Callable[[Image, str], Rows], split: VocSplit, images: int, threads: int = 1
) -> dict[str, dict[str, float]]:
    """Change of map50 and map50_95 by effect, on evenly chosen images of a split.

    Args:
        effects: names.
        find: detections (n, 6) in pixels of a picture (H, W, 3), under an effect; under none for an empty name.
        split: pictures and truth.
        images: how many, at most.
        threads: that `find` is called from at once, each with pictures of its own.

    Returns:
        `reference` -> map50, map50_95, images; and each effect -> map50, map50_95: the difference from the reference,
        in [-1, 1].
    """
    chosen = np.linspace(0, len(split) - 1, min(images, len(split))).round().astype(int)
    truth = [split.annotations[i] for i in chosen]
    pictures = [read_image(split.image_path(int(i))) for i in chosen]

    def metrics(found: Iterable[Rows]) -> dict[str, float]:
        values = score(truth, list(found), split.classes).metrics
        return {name: values[name] for name in ("map50", "map50_95")}

    with ThreadPoolExecutor(threads) as pool:  # which finds under the next effects while one is counted
        found = {name: pool.map(find, pictures, repeat(name)) for name in ("", *effects)}
        changes = {name: metrics(rows) for name, rows in found.items()}
        reference = changes.pop("")
    result = {"reference": {**reference, "images": float(len(pictures))}}
    return result | {name: {key: value - reference[key] for key, value in m.items()} for name, m in changes.items()}
