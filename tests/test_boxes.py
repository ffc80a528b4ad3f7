import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoloslim.boxes import FILL, Align, Letterbox, fit, iou_matrix, letterbox

sides = st.integers(1, 3000)
aligns = st.sampled_from(["center", "topleft"])


@settings(deadline=None)
@given(width=sides, height=sides, imgsz=st.sampled_from([32, 64, 192, 640]), align=aligns, seed=st.integers(0, 99))
def test_boxes_survive_the_way_to_the_canvas_and_back(
    width: int, height: int, imgsz: int, align: Align, seed: int
) -> None:
    geometry = fit(width, height, imgsz, align)
    corners = np.random.default_rng(seed).random((5, 2, 2)) * (width, height)
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)
    back = geometry.to_image(geometry.to_canvas(boxes), width, height)
    np.testing.assert_allclose(back, boxes, rtol=0, atol=2e-4 * max(width, height))


@settings(deadline=None)
@given(width=sides, height=sides, imgsz=st.sampled_from([32, 64, 192, 640]), align=aligns)
def test_longest_side_fills_the_canvas_and_nothing_leaves_it(width: int, height: int, imgsz: int, align: Align) -> None:
    geometry = fit(width, height, imgsz, align)
    assert max(geometry.width, geometry.height) == imgsz
    assert min(geometry.width, geometry.height) >= 1
    assert geometry.left >= 0
    assert geometry.top >= 0
    assert geometry.left + geometry.width <= imgsz
    assert geometry.top + geometry.height <= imgsz


@pytest.mark.parametrize(
    ("width", "height", "align", "expected"),
    [
        (100, 50, "center", Letterbox(0.64, 0, 16, 64, 32, 64)),
        (100, 50, "topleft", Letterbox(0.64, 0, 0, 64, 32, 64)),
        (50, 100, "center", Letterbox(0.64, 16, 0, 32, 64, 64)),
        (32, 32, "center", Letterbox(2.0, 0, 0, 64, 64, 64)),
        (64, 61, "center", Letterbox(1.0, 0, 1, 64, 61, 64)),
    ],
)
def test_geometry_by_hand(width: int, height: int, align: Align, expected: Letterbox) -> None:
    assert fit(width, height, 64, align) == expected


def test_boxes_by_hand() -> None:
    geometry = fit(100, 50, 64, "center")
    box = np.array([[0, 0, 100, 50], [25, 25, 50, 50]], np.float32)
    np.testing.assert_allclose(geometry.to_canvas(box), [[0, 16, 64, 48], [16, 32, 32, 48]], atol=1e-5)


def test_boxes_beyond_the_image_are_clipped_on_the_way_back() -> None:
    geometry = fit(100, 50, 64, "center")
    canvas = np.array([[-10, 0, 70, 64]], np.float32)
    np.testing.assert_array_equal(geometry.to_image(canvas, 100, 50), [[0, 0, 100, 50]])


def test_no_boxes_stay_no_boxes() -> None:
    geometry = fit(100, 50, 64)
    none = np.zeros((0, 4), np.float32)
    assert geometry.to_canvas(none).shape == (0, 4)
    assert geometry.to_image(none, 100, 50).shape == (0, 4)


@pytest.mark.parametrize("align", ["center", "topleft"])
def test_image_that_fits_is_pasted_unchanged_and_the_rest_is_grey(align: Align) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    canvas, geometry = letterbox(image, 64, align)
    top = 12 if align == "center" else 0
    assert (geometry.left, geometry.top, FILL) == (0, top, 114)
    np.testing.assert_array_equal(canvas[top : top + 40], image)
    assert (np.delete(canvas, np.s_[top : top + 40], 0) == 114).all()


def test_detections_come_back_clipped_and_those_in_the_padding_are_left_out() -> None:
    place = fit(200, 100, 100)  # half the size, 25 rows of padding above and below
    rows = np.array([[10, 35, 60, 75, 0.9, 1], [-5, 30, 120, 90, 0.8, 0], [10, 2, 60, 24, 0.7, 1]], np.float32)
    found = place.detections_to_image(rows, 200, 100)
    np.testing.assert_allclose(found, [[20, 20, 120, 100, 0.9, 1], [0, 10, 200, 100, 0.8, 0]], rtol=1e-6)


def test_fill_can_be_chosen() -> None:
    assert (letterbox(np.zeros((32, 64, 3), np.uint8), 64, "topleft", fill=7)[0][32:] == 7).all()


@pytest.mark.parametrize(("side", "how"), [(128, cv2.INTER_AREA), (16, cv2.INTER_LINEAR)])
def test_shrinking_averages_and_growing_interpolates(side: int, how: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    np.testing.assert_array_equal(letterbox(image, 32)[0], cv2.resize(image, (32, 32), interpolation=how))


def test_iou_by_hand() -> None:
    a = np.array([[0.0, 0, 4, 4], [10, 10, 12, 12]])
    b = np.array([[0.0, 0, 4, 4], [2, 2, 6, 6], [4, 0, 8, 4], [11, 10, 13, 12], [1, 1, 3, 3]])
    expected = [[1, 4 / 28, 0, 0, 4 / 16], [0, 0, 0, 2 / 6, 0]]
    np.testing.assert_allclose(iou_matrix(a, b), expected)


def test_iou_of_boxes_without_area_is_zero() -> None:
    point = np.array([[1.0, 1, 1, 1]])
    assert iou_matrix(point, point).item() == 0
    assert iou_matrix(point, np.zeros((0, 4))).shape == (1, 0)
