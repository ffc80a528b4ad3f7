"""Where a model looks: the strength of its features over an image, as heat maps."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from yoloslim.boxes import letterbox
from yoloslim.models.detector import Detector
from yoloslim.report.drawn_boxes import CELL
from yoloslim.report.style import picture

STRENGTH = 0.65
"""How much of the heat map covers the image, 0 to 1."""


def heat_maps(model: Detector, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """How strong the features are that the head reads, cell by cell.

    Args:
        model: left unchanged.
        image: RGB (S, S, 3), S a multiple of 32.

    Returns:
        (h, w) in [0, 1] by level, fine to coarse: the root mean square over channels, stretched to that range; all
        zero where the features are the same everywhere.
    """
    seen: list[torch.Tensor] = []
    training = model.training
    handle = model.model[-1].register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    try:
        with torch.inference_mode():
            model.eval()(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255)
    finally:
        handle.remove()
        model.train(training)
    return [_stretched(features[0].square().mean(0).sqrt().numpy()) for features in seen]


def _stretched(values: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def features(models: Sequence[tuple[str, Detector]], images: Sequence[NDArray[np.uint8]], path: Path) -> None:
    """Draw a line for each image and model: the image as the network sees it, and the heat map of every level.

    Args:
        models: names and models, of the same strides.
        images: RGB (H, W, 3), letterboxed here to each model's size.
        path: of the PNG.
    """
    strides = models[0][1].spec.strides
    shown = [(name, model, image) for image in images for name, model in models]
    with picture(path, CELL * (1 + len(strides)), CELL * len(shown) + 0.35) as figure:
        grid = figure.subplots(len(shown), 1 + len(strides), squeeze=False)
        for cells, (name, model, image) in zip(grid, shown, strict=True):
            side = model.spec.imgsz
            canvas, _ = letterbox(image, side)
            cells[0].imshow(canvas, interpolation="lanczos")
            cells[0].set_ylabel(name)
            for axes, heat in zip(cells[1:], heat_maps(model, canvas), strict=True):
                axes.imshow(canvas.mean(2), cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
                large = cv2.resize(heat, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
                axes.imshow(large, cmap="inferno", vmin=0, vmax=1, alpha=STRENGTH)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, title in zip(grid[0], ["image", *(f"cells of {stride} px" for stride in strides)], strict=True):
            axes.set_title(title, loc="center", fontsize=11)
