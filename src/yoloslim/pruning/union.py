"""Union-find: which channel ids belong to one group."""

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


class DisjointSets:
    """Disjoint sets of channel ids: int64 numbers 0, 1, 2, ..."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def fresh(self, count: int) -> IntArray:
        """New ids (count,), each in a group of its own."""
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, member: int) -> int:
        """The id that stands for the group of one."""
        while self.parent[member] != member:
            self.parent[member] = self.parent[self.parent[member]]
            member = self.parent[member]
        return member

    def unify(self, a: int, b: int) -> bool:
        """Make two ids one group; tells whether they were two."""
        a, b = self.find(a), self.find(b)
        self.parent[max(a, b)] = min(a, b)
        return a != b

    def numbered(self) -> tuple[int, IntArray]:
        """Number of groups, and the group 0..n-1 of each id."""
        roots = np.array([self.find(member) for member in range(len(self.parent))], np.int64)
        unique, group_of = np.unique(roots, return_inverse=True)
        return len(unique), group_of.astype(np.int64)
