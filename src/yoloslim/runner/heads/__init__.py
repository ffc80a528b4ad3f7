"""Raw outputs of a network to cells that may hold objects: one file a kind of head, `cells` in each.

These are the only decoders in NumPy: the library evaluates with them, and boards run them unchanged. `head` is the
specification as JSON has it (`yoloslim.heads`); its kind is the name of the file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cells import Cells
from ..errors import RunnerError


def kinds() -> list[str]:
    """The kinds of heads that can be decoded: the files of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def cells(outputs: Sequence[np.ndarray], head: dict[str, Any], options: dict[str, Any]) -> list[Cells]:
    """Candidates of every image of a batch.

    Args:
        outputs: float32 raw outputs (B, ...) by level, finest first.
        head: its specification.
        options: `conf_thres`, the score that a cell must exceed for some class (-1 takes every cell); and for heads
            with an objectness `objectness_thres`, which it must exceed.

    Raises:
        RunnerError: no such kind of head.
    """
    if head["kind"] not in kinds():
        raise RunnerError("model", "head kind {!r} is not known; known: {}".format(head["kind"], ", ".join(kinds())))
    module = importlib.import_module("." + head["kind"], __name__)
    return module.cells(outputs, head, options)  # type: ignore[no-any-return]


def in_order(outputs: Sequence[np.ndarray], shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Outputs of a compiled graph in the order of its description: compilers reorder and rename them.

    Args:
        outputs: (B, ...) each.
        shapes: without the batch, of each level; no two are alike.

    Raises:
        RunnerError: a level has not exactly one output of its shape.
    """
    found = []
    for shape in map(tuple, shapes):
        match = [output for output in outputs if output.shape[1:] == shape]
        if len(match) != 1:
            there = [tuple(output.shape) for output in outputs]
            raise RunnerError(
                "model",
                "the model gives outputs {}, of which {} have the shape (batch, {}) that is described".format(
                    there, len(match), ", ".join(map(str, shape))
                ),
            )
        found.append(np.ascontiguousarray(match[0], np.float32))
    return found
