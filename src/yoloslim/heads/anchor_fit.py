"""Anchors that suit a data set: a check of those the model has, and k-means where they fall short."""

import logging
import warnings

import numpy as np
import torch
from torch import Tensor

from yoloslim.heads.anchor import Anchor, Anchors
from yoloslim.heads.base import USUAL_IMGSZ

logger = logging.getLogger(__name__)

ENOUGH = 0.98
"""Share of boxes that must have an anchor within `anchor_t`, for anchors to be left alone."""
ENOUGH_TRAINED = 0.9
"""Likewise for anchors that boxes were learnt on: others would undo what the network knows of all boxes."""


def possible_recall(sizes: Tensor, anchors: Tensor, anchor_t: float) -> float:
    """Share of boxes (n, 2) for which some anchor (a, 2) is within a factor `anchor_t` on both sides."""
    ratio = sizes[:, None] / anchors[None]
    worst = torch.maximum(ratio, 1 / ratio).amax(2)
    return float((worst.amin(1) < anchor_t).float().mean())


def mean_fit(sizes: Tensor, anchors: Tensor) -> float:
    """Mean over boxes of the best anchor's agreement, 1 / the larger side ratio, in (0, 1]."""
    ratio = sizes[:, None] / anchors[None]
    return float((1 / torch.maximum(ratio, 1 / ratio).amax(2)).amax(1).mean())


def suits(sizes: Tensor, anchors: Anchors, anchor_t: float) -> bool:
    """Whether trained anchors can stay as they are, which is said, or are lost with the boxes learnt on them."""
    sizes = sizes[(sizes > 1).all(1)]
    if not len(sizes):
        return True
    recall = possible_recall(sizes, torch.tensor(_flat(anchors)), anchor_t)
    if recall < ENOUGH_TRAINED:
        lost = "anchors of the weights match %.1f %% of boxes and are replaced: the boxes are learnt anew"
        logger.warning(lost, 100 * recall)
        return False
    said = "anchors of the weights are kept: %.1f %% of boxes can be matched"
    if recall < ENOUGH:
        left = round((1 - recall) * len(sizes))
        logger.warning(said + ", %d of %d cannot, and are not learnt", 100 * recall, left, len(sizes))
    else:
        logger.info(said, 100 * recall)
    return True


def fit_anchors(sizes: Tensor, anchors: Anchors, imgsz: int, anchor_t: float, seed: int = 0) -> Anchors:
    """Anchors that nearly every box can match: the architecture's, as they are or scaled to the image, or new ones.

    Args:
        sizes: (n, 2), width and height of the training boxes on the canvas, px.
        anchors: what the architecture proposes, in px of a 640 px image.
        imgsz: side of the network's input, px.
        anchor_t: largest ratio between a box side and its anchor's.
        seed: of k-means.

    Returns:
        Anchors in the same arrangement, ordered by area from the finest level on.
    """
    sizes = sizes[(sizes > 1).all(1)]
    if not len(sizes):
        return anchors
    scaled = _arranged((torch.tensor(_flat(anchors)) * imgsz / USUAL_IMGSZ).tolist(), anchors)
    best = max((anchors, scaled), key=lambda a: mean_fit(sizes, torch.tensor(_flat(a))))
    recall = possible_recall(sizes, torch.tensor(_flat(best)), anchor_t)
    if recall < ENOUGH and len(sizes) >= len(_flat(anchors)):
        from scipy.cluster.vq import kmeans2  # slow to import, and mostly not needed

        logs = np.log(sizes.numpy().astype(np.float64))  # ratios matter, not differences
        with warnings.catch_warnings():  # where boxes have few sizes, some anchors come out alike, which is fine
            warnings.simplefilter("ignore")
            centres, _ = kmeans2(logs, len(_flat(anchors)), iter=30, minit="++", rng=np.random.default_rng(seed))
        found = torch.tensor(np.exp(centres), dtype=torch.float32)
        clustered = _arranged(found[found.prod(1).argsort()].tolist(), anchors)
        better = possible_recall(sizes, torch.tensor(_flat(clustered)), anchor_t)
        logger.info("anchors: %.1f %% of boxes could be matched, k-means makes it %.1f %%", 100 * recall, 100 * better)
        return clustered if better > recall else best
    logger.info("anchors%s: %.1f %% of boxes can be matched", " scaled to the image" * (best is scaled), 100 * recall)
    return best


def _flat(anchors: Anchors) -> list[Anchor]:
    return [anchor for level in anchors for anchor in level]


def _arranged(flat: list[list[float]], like: Anchors) -> Anchors:
    values = iter([(round(width, 2), round(height, 2)) for width, height in flat])
    return tuple(tuple(next(values) for _ in level) for level in like)
