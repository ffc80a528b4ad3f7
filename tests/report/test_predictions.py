"""Which images are shown, and which boxes are called right."""

import numpy as np
import pytest

from yoloslim.data.voc import Annotation, annotation_from
from yoloslim.report.drawn_boxes import label_places
from yoloslim.report.predictions import choose_images, match_boxes


def note(*boxes: tuple[float, float, float, float], labels: tuple[int, ...] = ()) -> Annotation:
    n = len(boxes)
    return annotation_from(100, 100, boxes, labels or (0,) * n, [False] * n, [False] * n)


BOX = (10.0, 10.0, 50.0, 50.0)


@pytest.mark.parametrize(
    ("objects", "count", "chosen"),
    [
        ([3, 0, 3, 3, 9, 3], 2, [0, 5]),  # spread evenly over those with two to six
        ([1, 0, 9, 3], 2, [0, 3]),  # too few such: any image with objects
        ([0, 0], 3, []),
        ([2], 4, [0]),
    ],
)
def test_images_with_a_few_objects_are_shown(objects: list[int], count: int, chosen: list[int]) -> None:
    assert choose_images([note(*[BOX] * n) for n in objects], count) == chosen


def test_a_box_is_right_once_in_its_class_and_place() -> None:
    found = np.array(
        [
            [*BOX, 0.9, 0],
            [*BOX, 0.8, 0],  # the truth is taken
            [*BOX, 0.7, 1],  # another class
            [60, 60, 90, 90, 0.6, 0],  # nothing there
        ],
        np.float32,
    )
    right, met = match_boxes(found, note(BOX, (60, 60, 70, 70)))
    assert right.tolist() == [True, False, False, False]
    assert met.tolist() == [True, False]
    assert match_boxes(found, note())[0].tolist() == [False] * 4
    right, met = match_boxes(np.zeros((0, 6), np.float32), note(BOX))
    assert right.tolist() == []
    assert met.tolist() == [False]


def test_labels_stand_clear_of_each_other_and_inside_the_image() -> None:
    boxes = np.array([[50, 50, 90, 90], [52, 50, 95, 90], [0, 0, 30, 20], [190, 100, 199, 120]], np.float32)
    above, moved, at_top, at_right = label_places(boxes, [10, 10, 8, 12], 200, 200)
    assert above[0] == 50
    assert above[1] == pytest.approx(50 - 1.5 * 7.5 * 200 / (72 * 2.6))
    assert moved == (52, 90)  # below, since the first label stands above
    assert at_top == (0, 20)
    assert at_right[0] + 12 * 0.62 * 7.5 * 200 / (72 * 2.6) == pytest.approx(200)


def test_labels_of_many_equal_boxes_fall_back_to_the_first_place() -> None:
    places = label_places(np.array([[50, 50, 60, 60]] * 20, np.float32), [5] * 20, 200, 200)
    assert len(set(places)) == 2  # above and below
    assert places[-1] == places[0]
