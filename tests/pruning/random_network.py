"""Random programs over tensors, for property tests: what nobody thought of drawing by hand."""

import operator
import random
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from tests.pruning.networks import Cbl, Shuffle
from torch import Tensor, nn

ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (nn.SiLU, nn.ReLU, nn.Mish, nn.Hardswish, nn.Tanh)
"""With act(0) = 0, so that a channel of scale and shift zero gives 0."""
SHIFTED: tuple[Callable[[], nn.Module], ...] = (nn.Sigmoid, nn.Softplus, nn.SiLU)
"""Folding needs no such thing."""


KINDS = ("conv", "conv", "depthwise", "grouped", "reuse", "add", "cat", "chunk", "shuffle", "pool")


class RandomNetwork(nn.Module):
    """A random program of convolutions, sums, concatenations, chunks, shuffles and pools over a pool of tensors."""

    def __init__(self, seed: int, steps: int, activations: Sequence[Callable[[], nn.Module]] = ACTIVATIONS) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.activations = activations
        self.blocks = nn.ModuleDict()
        self.program: list[tuple[str, tuple[int, ...], str]] = []
        self.widths = [3]
        self._block(0, 8)
        for step in range(steps):
            self._step(step)
        last = len(self.widths) - 1
        self.blocks["head"] = nn.Conv2d(self.widths[-1], 4, 1)
        self.program.append(("call", (last,), "head"))
        self.widths.append(4)
        if len(self.widths) > 4:
            self._block(self.rng.randrange(1, last + 1), 4, k=1)
        self.outputs = (last + 1, len(self.widths) - 1)

    def _step(self, step: int) -> None:
        i = self.rng.randrange(1, len(self.widths))
        width = self.widths[i]
        twins = [j for j, w in enumerate(self.widths) if w == width and j not in (0, i)]
        match self.rng.choice(
            ("conv", "conv", "depthwise", "grouped", "reuse", "add", "cat", "chunk", "shuffle", "pool")
        ):
            case "depthwise":
                self._block(i, width, groups=width)
            case "grouped" if width % 2 == 0:
                self._block(i, self.rng.choice((4, 8)), groups=2)
            case "reuse" if twins:
                name = self._block(i, width)
                self._add("call", (twins[0],), name, width)
            case "add" if twins:
                self._add("add", (i, self.rng.choice(twins)), "", width)
            case "cat" if width < 24:
                j = self.rng.randrange(1, len(self.widths))
                self._add("cat", (i, j), "", width + self.widths[j])
            case "chunk" if width % 2 == 0:
                self._add("first", (i,), "", width // 2)
                self._add("second", (i,), "", width // 2)
            case "shuffle" if width % 2 == 0:
                self._add("shuffle", (i,), "", width)
            case "pool":
                self._add("pool", (i,), "", width)
            case _:
                self._block(i, self.rng.choice((4, 6, 8)), k=self.rng.choice((1, 3)))

    def _block(self, source: int, width: int, k: int = 3, groups: int = 1) -> str:
        name = f"b{len(self.blocks)}"
        act = self.rng.choice(self.activations)()
        self.blocks[name] = Cbl(self.widths[source], width, k, groups, act=act)
        self._add("call", (source,), name, width)
        return name

    def _add(self, op: str, sources: tuple[int, ...], name: str, width: int) -> None:
        self.program.append((op, sources, name))
        self.widths.append(width)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        pool = [x]
        for op, sources, name in self.program:
            values = [pool[i] for i in sources]
            pool.append(self.blocks[name](*values) if op == "call" else OPERATIONS[op](*values))
        return tuple(pool[i] for i in self.outputs)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "add": operator.add,
    "cat": lambda a, b: torch.cat((a, b), 1),
    "first": lambda a: a.chunk(2, 1)[0],
    "second": lambda a: a.chunk(2, 1)[1],
    "shuffle": lambda a: Shuffle.shuffle(a, 2),
    "pool": lambda a: F.max_pool2d(a, 3, 1, 1),
}
