from pathlib import Path

import numpy as np
import pytest

from tests.data.splits import write_split
from yoloslim.boxes import Align, letterbox
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.voc import read_image


@pytest.mark.parametrize("align", ["center", "topleft"])
@pytest.mark.parametrize("imgsz", [64, 96])
def test_images_and_geometry_are_those_of_the_letterbox(tmp_path: Path, align: Align, imgsz: int) -> None:
    split = write_split(tmp_path / "voc")
    found = load_eval_set(split, imgsz, tmp_path / "cache", align)
    assert len(found) == 4
    for i in range(len(found)):
        expected, geometry = letterbox(read_image(split.image_path(i)), imgsz, align)
        np.testing.assert_array_equal(found.images[i], expected)
        assert found.letterboxes[i] == geometry


def test_names_and_truth_are_those_of_the_split(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    found = load_eval_set(split, 64, tmp_path / "cache")
    assert (found.classes, found.ids) == (("car", "dog"), ("a0", "a1", "a2", "a3"))
    assert found.annotations is split.annotations
    assert found.annotations[0].difficult.tolist() == [False, True]


def test_truth_lies_on_the_canvas(tmp_path: Path) -> None:
    found = load_eval_set(write_split(tmp_path / "voc"), 64, tmp_path / "cache")
    for geometry, truth in zip(found.letterboxes, found.annotations, strict=True):
        canvas = geometry.to_canvas(truth.boxes)
        assert ((canvas >= 0) & (canvas <= 64)).all()
        np.testing.assert_allclose(geometry.to_image(canvas, truth.width, truth.height), truth.boxes, atol=1e-4)
