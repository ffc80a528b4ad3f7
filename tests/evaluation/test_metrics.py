import numpy as np
import pytest

from tests.evaluation.oracles import overlap, pycoco, random_boxes, random_case
from tests.pace import slowness
from yoloslim.data.voc import Annotation, annotation_from
from yoloslim.evaluation import metrics
from yoloslim.evaluation.evaluate import score
from yoloslim.evaluation.matching import match_detections
from yoloslim.evaluation.metrics import WorkingPoint, coco_metrics, mean_known

CLASSES = ("a", "b", "c", "d")
BOX = [10.0, 10.0, 30.0, 30.0]


def voc07_ap50(truth: list[Annotation], detections: list[np.ndarray]) -> np.ndarray:
    return metrics.voc07_ap50(match_detections(truth, detections), len(CLASSES))


def working_point(truth: list[Annotation], detections: list[np.ndarray]) -> WorkingPoint:
    return metrics.working_point(match_detections(truth, detections), len(CLASSES))


def image(*boxes: list[float], labels: list[int] | None = None, difficult: list[bool] | None = None) -> Annotation:
    count = len(boxes)
    return annotation_from(100, 100, boxes, labels or [0] * count, difficult or [False] * count, [False] * count)


def found(*rows: tuple[list[float], float, int]) -> np.ndarray:
    return np.array([[*box, score, label] for box, score, label in rows], np.float32).reshape(-1, 6)


def moved(by: float) -> list[float]:
    return [v + by for v in BOX]


@pytest.mark.parametrize("seed", range(12))
def test_coco_metrics_equal_pycocotools(seed: int) -> None:
    truth, detections = random_case(seed, classes=4 - seed % 2)
    table = pycoco(truth, detections, len(CLASSES))
    result = coco_metrics(truth, detections, CLASSES)
    known = table[:, 0].min(axis=0) > -1
    np.testing.assert_allclose(result.precision[known], table[0].T[known], atol=1e-9)
    assert result.map50 == pytest.approx(table[0][:, known].mean(), abs=1e-6)
    assert result.map50_95 == pytest.approx(table[:, :, known].mean(), abs=1e-6)
    assert np.isnan(result.ap[~known]).all()


def test_coco_metrics_equal_pycocotools_without_detections() -> None:
    truth, detections = random_case(1)
    nothing = [d[:0] for d in detections]
    assert pycoco(truth, nothing, 4).max() == 0
    assert coco_metrics(truth, nothing, CLASSES).map50 == 0


def test_a_class_with_difficult_objects_only_does_not_count() -> None:
    truth = [image(BOX, [50, 50, 80, 80], labels=[0, 1], difficult=[False, True])]
    detections = [found((BOX, 0.9, 0))]
    table = pycoco(truth, detections, 4)
    result = coco_metrics(truth, detections, CLASSES)
    assert (table[0, 0, :] > -1).tolist() == (~np.isnan(result.ap50)).tolist() == [True, False, False, False]
    assert result.map50 == pytest.approx(1.0)
    assert mean_known(voc07_ap50(truth, detections)) == pytest.approx(1.0)


@pytest.mark.parametrize("truth", [[], [image()], [image(), image()]])
def test_nothing_to_find_is_zero_and_no_crash(truth: list[Annotation]) -> None:
    for detections in ([found()] * len(truth), [found((BOX, 0.9, 1))] * len(truth)):
        assert coco_metrics(truth, detections, CLASSES).map50_95 == 0
        assert mean_known(voc07_ap50(truth, detections)) == 0
        point = working_point(truth, detections)
        assert (point.precision, point.recall) == (0, 0)


def test_voc07_of_a_hand_computed_case() -> None:
    # Two objects. By score: right, wrong, right. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    truth = [image(BOX, [60, 60, 90, 90])]
    detections = [found((BOX, 0.9, 0), ([0, 60, 20, 90], 0.8, 0), ([60, 60, 90, 90], 0.7, 0))]
    expected = (6 * 1 + 5 * 2 / 3) / 11  # recall 0 to 0.5: best precision 1; 0.6 to 1: 2/3
    assert voc07_ap50(truth, detections)[0] == pytest.approx(expected, abs=1e-12)


def test_voc07_counts_a_second_detection_of_an_object_as_false() -> None:
    truth = [image(BOX, [60, 60, 90, 90])]
    detections = [found((moved(1), 0.9, 0), (BOX, 0.8, 0), ([60, 60, 90, 90], 0.7, 0))]
    assert voc07_ap50(truth, detections)[0] == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_voc07_ignores_detections_of_difficult_objects_however_many() -> None:
    truth = [image(BOX, [60, 60, 90, 90], difficult=[True, False])]
    detections = [found((BOX, 0.9, 0), (moved(1), 0.8, 0), ([60, 60, 90, 90], 0.7, 0))]
    assert voc07_ap50(truth, detections)[0] == pytest.approx(1.0)


def test_voc07_takes_the_object_that_overlaps_most_even_if_it_is_taken() -> None:
    # The second detection overlaps both objects by more than half, but the taken one more: a duplicate.
    truth = [image([10, 10, 30, 30], [14, 10, 34, 30])]
    detections = [found(([10, 10, 30, 30], 0.9, 0), ([11, 10, 31, 30], 0.8, 0))]
    assert voc07_ap50(truth, detections)[0] == pytest.approx(6 / 11)


def test_voc07_accepts_an_overlap_of_exactly_one_half() -> None:
    truth = [image([0, 0, 10, 10])]
    assert voc07_ap50(truth, [found(([0, 0, 10, 20], 0.9, 0))])[0] == 1
    assert voc07_ap50(truth, [found(([0, 0, 10, 20.1], 0.9, 0))])[0] == 0


def test_voc07_reaches_a_recall_point_exactly() -> None:
    # 3 of 10 objects: recall 0.3 is reached, though 3 / 10 < 0.1 * 3 in floating point.
    truth = [image(*([i * 9.0, 0.0, i * 9.0 + 8, 8.0] for i in range(10)))]
    detections = [found(*(([i * 9.0, 0.0, i * 9.0 + 8, 8.0], 0.9, 0) for i in range(3)))]
    assert voc07_ap50(truth, detections)[0] == pytest.approx(4 / 11)


def slow_voc07(truth: list[Annotation], detections: list[np.ndarray], label: int) -> float:
    """The devkit's loop, one detection after the other."""
    total = sum(int(((a.labels == label) & ~a.difficult).sum()) for a in truth)
    rows = [(i, row) for i, d in enumerate(detections) for row in d if row[5] == label]
    rows.sort(key=lambda r: -r[1][4])
    taken: set[tuple[int, int]] = set()
    tp = fp = 0
    points = []
    for i, row in rows:
        best, best_object = -1.0, -1
        for j in np.flatnonzero(truth[i].labels == label):
            if (iou := overlap(row, truth[i].boxes[j])) > best:
                best, best_object = iou, int(j)
        if best >= 0.5:
            if truth[i].difficult[best_object]:
                continue
            tp += (i, best_object) not in taken
            fp += (i, best_object) in taken
            taken.add((i, best_object))
        else:
            fp += 1
        points.append((tp, tp / (tp + fp)))
    return sum(max([p for t, p in points if 10 * t >= k * total], default=0.0) for k in range(11)) / 11


@pytest.mark.parametrize("seed", range(6))
def test_voc07_equals_the_devkits_loop(seed: int) -> None:
    truth, detections = random_case(seed, images=30)
    expected = [slow_voc07(truth, detections, label) for label in range(4)]
    np.testing.assert_allclose(voc07_ap50(truth, detections), expected, atol=1e-12)


def test_working_point_maximises_mean_f1() -> None:
    # Thresholds above 0.5 miss one object; below 0.3 a false detection comes in.
    truth = [image(BOX, [60, 60, 90, 90])]
    detections = [found((BOX, 0.9, 0), ([60, 60, 90, 90], 0.5, 0), ([0, 60, 20, 90], 0.3, 0))]
    point = working_point(truth, detections)
    assert (point.precision, point.recall) == (1, 1)
    assert 0.3 < point.confidence <= 0.5
    assert point.precision_curve[0, 0] == pytest.approx(2 / 3)
    assert point.recall_curve[0, 600] == 0.5


def test_working_point_weighs_classes_equally() -> None:
    truth = [image(BOX, [60, 60, 90, 90], labels=[0, 1])]
    detections = [found((BOX, 0.9, 0))]
    point = working_point(truth, detections)
    assert point.recall == 0.5
    assert point.class_recall.tolist() == [1, 0, 0, 0]


@pytest.mark.slow
def test_half_a_million_detections_take_about_a_second() -> None:
    import time

    rng = np.random.default_rng(0)
    truth, detections = [], []
    for _ in range(4952):
        labels = rng.integers(0, 20, 3)
        boxes = random_boxes(rng, 3, 500)
        truth.append(annotation_from(500, 500, boxes, labels, [False] * 3, [False] * 3))
        rows = np.concatenate(
            [random_boxes(rng, 100, 500), rng.random((100, 1)), rng.integers(0, 20, (100, 1))], axis=1
        )
        detections.append(rows.astype(np.float32))
    classes = [str(i) for i in range(20)]
    start = time.process_time()  # of all threads, whatever else the machine does
    score(truth, detections, classes)
    assert time.process_time() - start < 5 * slowness()  # measured 0.9 s
