"""A split as evaluation wants it: letterboxed images with their geometry and truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloslim.boxes import FILL, Align, Letterbox, fit
from yoloslim.data.store import image_store
from yoloslim.data.stored import Check, unchecked
from yoloslim.data.voc import Annotation, VocSplit
from yoloslim.errors import ConfigError

Index = int | slice | Sequence[int] | NDArray[np.intp]


@dataclass(frozen=True)
class Part:
    """A batch for a predictor.

    Attributes:
        numbers: which images of the set, (n,).
        images: uint8 (n, rows, columns, 3), RGB.
        letterboxes: where each lies on its canvas.
    """

    numbers: NDArray[np.intp]
    images: NDArray[np.uint8]
    letterboxes: list[Letterbox]


class Letterboxed:
    """Letterboxed images that are made when asked for, since a large set fits no memory: `images[3:9]`, uint8 RGB."""

    def __init__(self, stored: NDArray[np.uint8], letterboxes: Sequence[Letterbox], check: Check = unchecked) -> None:
        """Take images (N, S, S, 3) as `image_store` has them, at the top left, and where each should lie instead."""
        self._stored, self._letterboxes, self._check = stored, letterboxes, check
        self.shape: tuple[int, ...] = stored.shape

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Index) -> NDArray[np.uint8]:
        """One image (S, S, 3) for a number; (n, S, S, 3) for a slice, a list or an array of them."""
        chosen = np.arange(len(self))[index]
        images = self.on_canvas(np.atleast_1d(chosen), self._letterboxes, self.shape[1:3])
        return images if chosen.ndim else images[0]

    def on_canvas(
        self, numbers: NDArray[np.intp], letterboxes: Sequence[Letterbox], shape: tuple[int, ...]
    ) -> NDArray[np.uint8]:
        """Images (n, rows, columns, 3), each where its own letterbox (one an image of the set) says."""
        self._check(numbers)
        images = np.full((len(numbers), *shape, 3), FILL, np.uint8)
        for image, number in zip(images, numbers, strict=True):
            box = letterboxes[number]
            content = self._stored[number, : box.height, : box.width]
            image[box.top : box.top + box.height, box.left : box.left + box.width] = content
        return images


@dataclass(frozen=True)
class EvalSet:
    """Images ready for a predictor, and what should be found in them.

    Attributes:
        classes: names, by label.
        ids: image names without suffix.
        images: uint8 (N, S, S, 3), RGB, letterboxed; an array, or Letterboxed.
        letterboxes: geometry of each image, to bring boxes back to its own pixels.
        annotations: truth, in pixels of the original images.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    images: NDArray[np.uint8] | Letterboxed
    letterboxes: tuple[Letterbox, ...]
    annotations: tuple[Annotation, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def squares(self, batch: int) -> Iterator[Part]:
        """All images in their order, on square canvases."""
        for start in range(0, len(self), batch):
            numbers = np.arange(start, min(start + batch, len(self)))
            yield Part(numbers, self.images[start : start + batch], [self.letterboxes[i] for i in numbers])

    def rectangles(self, batch: int, stride: int) -> Iterator[Part]:
        """Images by aspect ratio, on the smallest canvases with sides of a multiple of `stride` px.

        The images are resized just as on squares; only padding that no image of the batch needs is left out.

        Raises:
            ConfigError: the images are kept as squares only.
        """
        if not isinstance(self.images, Letterboxed):
            raise ConfigError("these images are squares already; load the set with load_eval_set to get rectangles")
        order = np.argsort([box.height / box.width for box in self.letterboxes], kind="stable")
        placed = list(self.letterboxes)
        for start in range(0, len(order), batch):
            numbers = order[start : start + batch]
            boxes = [self.letterboxes[i] for i in numbers]
            rows, columns = max(b.height for b in boxes), max(b.width for b in boxes)
            rows, columns = (-(-side // stride) * stride for side in (rows, columns))
            for i in numbers:
                box = placed[i]
                placed[i] = replace(box, left=(columns - box.width) // 2, top=(rows - box.height) // 2)
            yield Part(numbers, self.images.on_canvas(numbers, placed, (rows, columns)), [placed[i] for i in numbers])


def load_eval_set(split: VocSplit, imgsz: int, cache_dir: Path, align: Align = "center") -> EvalSet:
    """Letterbox a split's images, from the store that training uses too.

    Raises:
        DataError: an image that cannot be decoded.
    """
    boxes = tuple(fit(a.width, a.height, imgsz, align) for a in split.annotations)
    stored = image_store(split, imgsz, cache_dir)
    images = Letterboxed(stored.pixels, boxes, stored.check)
    return EvalSet(split.classes, split.ids, images, boxes, split.annotations)
