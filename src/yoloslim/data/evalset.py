"""A split as evaluation wants it: letterboxed images with their geometry and truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloslim.boxes import FILL, Align, Letterbox, fit
from yoloslim.data.store import image_store
from yoloslim.data.voc import Annotation, VocSplit


@dataclass(frozen=True)
class EvalSet:
    """Images ready for a predictor, and what should be found in them.

    Attributes:
        classes: names, by label.
        ids: image names without suffix.
        images: uint8 (N, S, S, 3), RGB, letterboxed.
        letterboxes: geometry of each image, to bring boxes back to its own pixels.
        annotations: truth, in pixels of the original images.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    letterboxes: tuple[Letterbox, ...]
    annotations: tuple[Annotation, ...]

    def __len__(self) -> int:
        return len(self.ids)


def load_eval_set(split: VocSplit, imgsz: int, cache_dir: Path, align: Align = "center") -> EvalSet:
    """Letterbox a split's images, from the store that training uses too.

    Raises:
        DataError: an image that cannot be decoded.
    """
    stored = image_store(split, imgsz, cache_dir)
    boxes = tuple(fit(a.width, a.height, imgsz, align) for a in split.annotations)
    images = np.full(stored.shape, FILL, np.uint8)
    for i, box in enumerate(boxes):
        content = stored[i, : box.height, : box.width]
        images[i, box.top : box.top + box.height, box.left : box.left + box.width] = content
    return EvalSet(split.classes, split.ids, images, boxes, split.annotations)
