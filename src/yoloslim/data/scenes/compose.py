"""Put drawn objects on a background and say truthfully what can be seen of each."""

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.data.voc import VOC_CLASSES, Annotation, annotation_from


def render_scene(seed: int, split: str, index: int, size: int) -> tuple[NDArray[np.uint8], Annotation]:
    """Draw scene `index` of `split`: an RGB image (size, size, 3) and its annotation over `VOC_CLASSES`."""
    rng = np.random.default_rng([seed, *split.encode(), index])
    image = np.full((size, size, 3), rng.integers(60, 200, 3), np.uint8)
    boxes, labels = [], []
    for _ in range(int(rng.integers(1, 4))):
        label = int(rng.integers(len(VOC_CLASSES)))
        radius = int(rng.integers(size // 12, size // 5))
        x, y = (int(v) for v in rng.integers(radius + 1, size - radius - 1, 2))
        corners = np.array(cv2.ellipse2Poly((x, y), (radius, radius), 0, 0, 360, 360 // (3 + label % 5)))
        colour = cv2.cvtColor(np.array([[[label * 9, 255, 220]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
        cv2.fillPoly(image, [corners], colour)
        left, top = corners.min(0)
        right, bottom = corners.max(0) + 1
        boxes.append((left, top, right, bottom))
        labels.append(label)
    no = [False] * len(labels)
    return image, annotation_from(size, size, boxes, labels, no, no)
