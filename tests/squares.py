"""A data set in YOLO's layout that is learnt in seconds: noise, with bright squares of two classes."""

from pathlib import Path

import cv2
import numpy as np

CLASSES = ("red", "blue")


def write_squares(root: Path, count: int = 24, size: int = 64, seed: int = 0) -> Path:
    """Images, labels and data.yaml; two squares an image, no splits."""
    rng = np.random.default_rng(seed)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = rng.integers(0, 90, (size, size, 3), dtype=np.uint8)
        rows = []
        for label in range(2):
            side = int(rng.integers(16, 24))
            left, top = int(rng.integers(0, size // 2 - 4)), label * size // 2 + int(rng.integers(0, 8))
            image[top : top + side, left : left + side, 2 - 2 * label] = 250  # BGR: red, blue
            centre = ((left + side / 2) / size, (top + side / 2) / size)
            rows.append(f"{label} {centre[0]:.6f} {centre[1]:.6f} {side / size:.6f} {side / size:.6f}\n")
        cv2.imwrite(str(root / "images" / f"s{number:03d}.png"), image)
        (root / "labels" / f"s{number:03d}.txt").write_text("".join(rows))
    (root / "data.yaml").write_text(f"train: images\nnames: [{', '.join(CLASSES)}]\n")
    return root
