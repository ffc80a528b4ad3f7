import numpy as np

from tests.evaluation.oracles import random_case
from yoloslim.data.voc import annotation_from
from yoloslim.evaluation.confusion import confusion_matrix

A, B, C = [0.0, 0, 10, 10], [20.0, 20, 40, 40], [60.0, 60, 90, 90]


def rows(*found: tuple[list[float], float, int]) -> np.ndarray:
    return np.array([[*box, score, label] for box, score, label in found], np.float32).reshape(-1, 6)


def test_hits_mix_ups_misses_and_inventions_are_counted_where_they_belong() -> None:
    truth = [annotation_from(100, 100, [A, B, C], [0, 1, 1], [False] * 3, [False] * 3)]
    found = [rows((A, 0.9, 0), (B, 0.8, 0), ([0, 80, 10, 90], 0.7, 1), (C, 0.2, 1))]
    expected = [
        [1, 1, 0],  # class 0 detected: a true 0, a true 1
        [0, 0, 1],  # class 1 detected: nothing was there
        [0, 1, 0],  # missed: C, found with too low a score
    ]
    assert confusion_matrix(truth, found, 2).tolist() == expected


def test_an_object_is_matched_once_and_by_the_best_overlap() -> None:
    truth = [annotation_from(100, 100, [A], [0], [False], [False])]
    found = [rows(([2, 0, 12, 10], 0.9, 1), (A, 0.5, 0))]
    assert confusion_matrix(truth, found, 2).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_difficult_objects_count_neither_found_nor_missed() -> None:
    truth = [annotation_from(100, 100, [A, B], [0, 1], [True, True], [False] * 2)]
    assert confusion_matrix(truth, [rows((A, 0.9, 1))], 2).sum() == 0


def test_every_object_and_every_detection_is_counted_once() -> None:
    truth, detections = random_case(3, difficult=0)
    matrix = confusion_matrix(truth, detections, 4)
    labels = np.concatenate([a.labels for a in truth])
    np.testing.assert_array_equal(matrix[:, :4].sum(0), np.bincount(labels, minlength=4))
    kept = np.concatenate([d[d[:, 4] > 0.25, 5] for d in detections]).astype(int)
    np.testing.assert_array_equal(matrix[:4].sum(1), np.bincount(kept, minlength=4))


def test_empty_images_and_sets_are_fine() -> None:
    empty = annotation_from(10, 10, [], [], [], [])
    assert confusion_matrix([empty], [rows()], 2).sum() == 0
    assert confusion_matrix([], [], 2).shape == (3, 3)
