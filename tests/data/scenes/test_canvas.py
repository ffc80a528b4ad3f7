import math

import numpy as np
import pytest

from yoloslim.data.scenes.canvas import Canvas, mix, shade

RED, BLUE = (255, 0, 0), (0, 0, 255)


def _area(canvas: Canvas) -> int:
    return int((canvas.rgba[..., 3] > 0).sum())


def _middle_of(canvas: Canvas) -> tuple[float, float]:
    rows, columns = np.nonzero(canvas.rgba[..., 3])
    centre = len(canvas.rgba) / 2
    return float(columns.mean() - centre), float(rows.mean() - centre)


def test_ellipse_covers_its_area_and_nothing_else() -> None:
    canvas = Canvas(scale=100)
    canvas.ellipse(0, 0, 0.5, 0.3, RED)
    assert _area(canvas) == pytest.approx(math.pi * 50 * 30, rel=0.04)
    assert set(np.unique(canvas.rgba[..., 3])) == {0, 255}
    assert canvas.rgba[135, 135].tolist() == [255, 0, 0, 255]


def test_clip_paints_only_on_what_is_there() -> None:
    canvas = Canvas(scale=50)
    canvas.rect(-0.5, -0.5, 0, 0.5, RED)
    before = _area(canvas)
    canvas.rect(-0.2, -0.2, 0.8, 0.2, BLUE, clip=True)
    assert _area(canvas) == before
    centre = len(canvas.rgba) // 2
    assert canvas.rgba[centre, centre - 5].tolist() == [0, 0, 255, 255]
    assert canvas.rgba[centre, centre + 5].tolist() == [0, 0, 0, 0]


def test_mirror_and_turn_move_points_where_they_should() -> None:
    places = {}
    for name, canvas in {
        "plain": Canvas(50),
        "mirrored": Canvas(50, mirrored=True),
        "turned": Canvas(50, angle=-90),
    }.items():
        canvas.ellipse(0.6, 0, 0.1, 0.1, RED)
        places[name] = _middle_of(canvas)
    assert places["plain"] == pytest.approx((30, 0), abs=1)
    assert places["mirrored"] == pytest.approx((-30, 0), abs=1)
    assert places["turned"] == pytest.approx((0, 30), abs=1)


def test_blob_passes_through_its_points() -> None:
    canvas = Canvas(scale=100)
    canvas.blob([(-0.8, 0), (0, -0.5), (0.8, 0), (0, 0.5)], RED)
    rows, columns = np.nonzero(canvas.rgba[..., 3])
    assert columns.max() - columns.min() == pytest.approx(160, abs=4)
    assert rows.max() - rows.min() == pytest.approx(100, abs=4)


def test_limb_is_as_wide_as_asked() -> None:
    canvas = Canvas(scale=100)
    canvas.limb([(-0.5, 0), (0.5, 0)], [0.2, 0.2], RED)
    middle = canvas.rgba[:, len(canvas.rgba) // 2, 3]
    assert (middle > 0).sum() == pytest.approx(20, abs=2)


def test_colours_stay_colours() -> None:
    assert shade((100, 200, 250), 2) == (200, 255, 255)
    assert mix((0, 0, 0), (100, 200, 50), 0.5) == (50, 100, 25)
