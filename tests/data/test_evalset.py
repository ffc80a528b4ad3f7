from pathlib import Path

import numpy as np
import pytest

from tests.data.splits import write_split
from yoloslim.boxes import Align, letterbox
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.images import read_image


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


def test_images_are_made_when_asked_for(tmp_path: Path) -> None:
    images = load_eval_set(write_split(tmp_path / "voc"), 64, tmp_path / "cache").images
    whole = images[:]
    assert (len(images), images.shape, whole.shape) == (4, (4, 64, 64, 3), (4, 64, 64, 3))
    np.testing.assert_array_equal(images[1:3], whole[1:3])
    np.testing.assert_array_equal(images[[3, 0]], whole[[3, 0]])
    np.testing.assert_array_equal(images[np.array([2])], whole[2:3])
    np.testing.assert_array_equal(images[-1], whole[3])


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_rectangles_hold_the_pixels_of_the_squares_with_the_least_padding(tmp_path: Path, batch: int) -> None:
    found = load_eval_set(write_split(tmp_path / "voc"), 96, tmp_path / "cache")
    squares = {n: (p.images[i], p.letterboxes[i]) for p in found.squares(4) for i, n in enumerate(p.numbers)}
    seen = []
    for part in found.rectangles(batch, 32):
        assert all(side % 32 == 0 for side in part.images.shape[1:3])
        assert part.images.shape[1] - max(b.height for b in part.letterboxes) < 32
        assert part.images.shape[2] - max(b.width for b in part.letterboxes) < 32
        for number, image, box in zip(part.numbers, part.images, part.letterboxes, strict=True):
            square, whole = squares[number]
            inner = image[box.top : box.top + box.height, box.left : box.left + box.width]
            outer = square[whole.top : whole.top + whole.height, whole.left : whole.left + whole.width]
            np.testing.assert_array_equal(inner, outer)
            truth = found.annotations[number]
            back = box.to_image(box.to_canvas(truth.boxes), truth.width, truth.height)
            np.testing.assert_allclose(back, truth.boxes, atol=1e-4)
            seen.append(int(number))
    assert sorted(seen) == [0, 1, 2, 3]
