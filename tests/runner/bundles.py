"""A bundle for boards as `yoloslim` writes it where there is no CANN, and pictures with boxes for it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yoloslim.data.voc import annotation_from, write_annotation
from yoloslim.deploy.ascend.atc import compile_model
from yoloslim.deploy.export_model import export_model
from yoloslim.models.detector import Detector


def uncompiled_bundle(root: Path, model: Detector) -> Path:
    """The files for a board, without the compiled model, which needs ATC."""
    export_model(model.eval(), root / "export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
        compile_model(root / "export", root / "atc")
    return root / "atc"


def voc_devkit(root: Path, pictures: Iterable[tuple[np.ndarray, Sequence[Sequence[int]], Sequence[int]]]) -> Path:
    """VOCdevkit with a test split of (pixels, boxes, classes), of the classes a and b."""
    voc, names = root / "VOCdevkit" / "VOC2007", list[str]()
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (voc / name).mkdir(parents=True)
    for i, (pixels, boxes, classes) in enumerate(pictures):
        names.append(f"{i:06}")
        Image.fromarray(pixels).save(voc / f"JPEGImages/{names[i]}.jpg")
        height, width = pixels.shape[:2]
        none = [False] * len(boxes)
        note = annotation_from(width, height, boxes, classes, none, none)
        write_annotation(voc / f"Annotations/{names[i]}.xml", f"{names[i]}.jpg", note, ("a", "b"))
    (voc / "ImageSets/Main/test.txt").write_text("".join(f"{name}\n" for name in names))
    return voc.parent
