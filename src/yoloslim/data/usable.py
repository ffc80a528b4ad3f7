"""The usable images of a data set, of which little is held: numbers and hashes in one table, boxes in a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from yoloslim.data.checks import ImageFacts
from yoloslim.data.layouts import Found
from yoloslim.data.packed import PackedAnnotation, Rows
from yoloslim.data.validation import ReportedImage
from yoloslim.data.voc import Annotation

INSPECTED = [field.name for field in fields(ImageFacts)]
_KINDS = ("2i4", "u1", "f8", "?", "S32", "S32")
FACTS = np.dtype([("usable", "?"), ("file", "i8"), ("stated", "2i4"), *zip(INSPECTED, _KINDS, strict=True)])
"""What is held of every image: whether it is usable so far, a hash of the path of the file that holds its boxes, width
and height as stated there, and what decoding tells."""


class Usable:
    """The usable images of a source, by their numbers among its items.

    Attributes:
        found: the source.
        names: of all its items, in step.
        facts: see `FACTS`, in step.
        annotations: sound boxes, in step; None where an image is not usable.
        turn: orientation that the pixels are to be turned by, in step.
        white: becomes 255 in images of more than 8 bits.
    """

    def __init__(self, found: Found) -> None:
        """Begin with what the reader found."""
        self.found, self.names = found, found.names()
        self.facts = np.zeros(len(self.names), FACTS)
        self.annotations = Rows()
        self.turn, self.white = np.ones(len(self.names), np.uint8), 255.0

    def annotation(self, number: int) -> Annotation:
        """Sound boxes of an image."""
        return PackedAnnotation.of(self.annotations[number]).unpacked()

    def numbers(self) -> dict[str, int]:
        """Of the usable images, by name."""
        return {self.names[number]: int(number) for number in np.flatnonzero(self.facts["usable"])}


@dataclass(frozen=True)
class SplitOf:
    """The images of a split as the report counts them, without holding them."""

    usable: Usable
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[ReportedImage]:
        for number in self.numbers:
            fact = self.usable.facts[number]
            boxes = partial(self.usable.annotation, number)
            yield ReportedImage(self.usable.names[number], boxes, fact["bytes_key"], fact["pixels_key"])
