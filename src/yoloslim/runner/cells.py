"""Cells of one image that may hold objects, their boxes not decoded yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cells:
    """Cells of one image, in an order that stays.

    Attributes:
        scores: float32 (n, classes) in [0, 1].
        boxes: maps numbers of cells (k,) to `xyxy` in canvas pixels, float32 (k, 4).
        nms: whether several cells may mean one object, so that all but the best must be suppressed.
    """

    scores: np.ndarray
    boxes: Callable[[np.ndarray], np.ndarray]
    nms: bool = True


def logit(probability: float) -> float:
    """The logit just below a probability, so that rounding loses no cell that lies exactly above it."""
    if probability <= 0:
        return -np.inf
    return float(np.log(probability) - np.log1p(-probability)) - 1e-3


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)). NumPy's result does not depend on an element's position; PyTorch's does, by one bit."""
    with np.errstate(over="ignore"):  # exp(-x) is infinite below -88, and its reciprocal the right 0
        y = np.exp(-x)
    y += 1
    np.reciprocal(y, out=y)
    return y  # type: ignore[no-any-return]
