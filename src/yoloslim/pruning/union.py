"""Groups of labels that live and die together."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
LayerKind = Literal[
    "convolution",
    "depthwise",
    "grouped",
    "linear",
    "embedding",
    "batchnorm",
    "instancenorm",
    "layernorm",
    "groupnorm",
    "prelu",
    "part",
]
FILTERS: tuple[LayerKind, ...] = ("convolution", "depthwise", "grouped", "linear", "embedding")
"""Kinds of layers whose weights make channels; all others have one weight a channel, or none."""


class LabelSets:
    """Union-find over labels: int64 numbers 0, 1, 2, ..."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def fresh(self, count: int) -> IntArray:
        """New labels (count,), each in a group of its own."""
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, label: int) -> int:
        """The label that stands for a label's group."""
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def unify(self, a: int, b: int) -> bool:
        """Make two labels one group; tells whether they were two."""
        a, b = self.find(a), self.find(b)
        self.parent[max(a, b)] = min(a, b)
        return a != b

    def numbered(self) -> tuple[int, IntArray]:
        """Number of groups, and the group 0..n-1 of each label."""
        roots = np.array([self.find(label) for label in range(len(self.parent))], np.int64)
        unique, group_of = np.unique(roots, return_inverse=True)
        return len(unique), group_of.astype(np.int64)
