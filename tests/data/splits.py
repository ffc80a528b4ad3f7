"""Prepared folders of a few images of odd sizes, made on the spot."""

from pathlib import Path

import cv2
import numpy as np

from yoloslim.data.voc import VocSplit, annotation_from, load_split, write_annotation

SIZES = ((64, 64), (61, 40), (33, 50), (90, 128))
"""Width and height: square, odd, upright, and larger than the canvas."""


def write_split(root: Path, sizes: tuple[tuple[int, int], ...] = SIZES, seed: int = 0) -> VocSplit:
    """Noise images `a0..`, with a plain and a difficult box each; the last has none."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    ids = [f"a{i}" for i in range(len(sizes))]
    for i, (name, (width, height)) in enumerate(zip(ids, sizes, strict=True)):
        pixels = rng.integers(0, 255, (height, width, 3), np.uint8)
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        boxes = [[2, 3, width - 4, height - 5], [5, 5, 20, 25]] if i + 1 < len(sizes) else []
        count = len(boxes)
        note = annotation_from(width, height, boxes, [i % 2, 1][:count], [False, True][:count], [False] * count)
        write_annotation(root / "Annotations" / f"{name}.xml", f"{name}.jpg", note, ("car", "dog"))
    (root / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{name}\n" for name in ids))
    (root / "classes.txt").write_text("car\ndog\n")
    return load_split(root, "train")
