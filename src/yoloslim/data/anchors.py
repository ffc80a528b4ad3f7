"""Anchors that suit a data set: a check of those the model has, and k-means where they fall short."""

import logging

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from yoloslim.models.spec import Anchor

logger = logging.getLogger(__name__)

Anchors = tuple[tuple[Anchor, ...], ...]
ENOUGH = 0.98
"""Share of boxes that must have an anchor within `anchor_t`, for anchors to be left alone."""


def possible_recall(sizes: Tensor, anchors: Tensor, anchor_t: float) -> float:
    """Share of boxes (n, 2) for which some anchor (a, 2) is within a factor `anchor_t` on both sides."""
    ratio = sizes[:, None] / anchors[None]
    worst = torch.maximum(ratio, 1 / ratio).amax(2)
    return float((worst.amin(1) < anchor_t).float().mean())


def fit_anchors(sizes: Tensor, anchors: Anchors, anchor_t: float, seed: int = 0) -> Anchors:
    """Keep anchors that nearly every box can match, else cluster the boxes' sizes anew.

    Args:
        sizes: (n, 2), width and height of the training boxes on the canvas, px.
        anchors: what the architecture proposes, px.
        anchor_t: largest ratio between a box side and its anchor's.
        seed: of k-means.

    Returns:
        Anchors in the same arrangement, ordered by area from the finest level on.
    """
    flat = torch.tensor([a for level in anchors for a in level])
    sizes = sizes[(sizes > 1).all(1)]
    recall = possible_recall(sizes, flat, anchor_t) if len(sizes) else 1.0
    if recall >= ENOUGH or len(sizes) < len(flat):
        logger.info("anchors: %.1f %% of boxes can be matched; kept", 100 * recall)
        return anchors
    logs = np.log(sizes.numpy().astype(np.float64))  # ratios matter, not differences
    centres, _ = kmeans2(logs, len(flat), iter=30, minit="++", seed=np.random.default_rng(seed))
    found = torch.tensor(np.exp(centres), dtype=torch.float32)
    found = found[found.prod(1).argsort()]
    better = possible_recall(sizes, found, anchor_t)
    if better <= recall:
        return anchors
    logger.info("anchors: %.1f %% of boxes could be matched, k-means makes it %.1f %%", 100 * recall, 100 * better)
    rounded = iter([(round(w, 1), round(h, 1)) for w, h in found.tolist()])
    return tuple(tuple(next(rounded) for _ in level) for level in anchors)
