import time

import numpy as np
import pytest

from tests.evaluation.oracles import random_boxes
from yoloslim.boxes import fit
from yoloslim.data.evalset import EvalSet, Letterboxed
from yoloslim.data.voc import Annotation, annotation_from
from yoloslim.errors import ConfigError
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.nms import mindx_options
from yoloslim.heads import AnchorHead

ANCHORS = [[[16.0, 16.0]], [[32.0, 32.0]]]
STRIDES = (8, 16)
IMGSZ = 64


class Oracle:
    """A predictor that knows the truth: it writes the logits that decode to the objects of each image.

    The first pixel of an image holds its index.
    """

    backend, preprocessing = "oracle", "none"
    head, classes, imgsz = AnchorHead(strides=STRIDES, anchors=ANCHORS), ("a", "b"), IMGSZ

    def __init__(self, eval_set: EvalSet, delay_s: float = 0) -> None:
        self.eval_set, self.delay_s, self.calls = eval_set, delay_s, 0

    def set_threads(self, threads: int) -> None: ...

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        time.sleep(self.delay_s)
        heads = [np.full((len(images), 1, IMGSZ // s, IMGSZ // s, 7), -20, np.float32) for s in STRIDES]
        for place, picture in enumerate(images):
            index = int(picture[0, 0, 0])
            annotation = self.eval_set.annotations[index]
            boxes = self.eval_set.letterboxes[index].to_canvas(annotation.boxes)
            for box, label in zip(boxes, annotation.labels, strict=True):
                self._write(heads[0][place, 0], box, int(label))
        return heads

    @staticmethod
    def _write(head: np.ndarray, box: np.ndarray, label: int) -> None:
        centre, size = (box[:2] + box[2:]) / 2 / STRIDES[0], box[2:] - box[:2]
        column, row = np.floor(centre).astype(int)
        xy = (centre - [column, row] + 0.5) / 2
        wh = np.sqrt(size / 16) / 2
        values = np.concatenate([xy, wh])
        head[row, column, :4] = np.log(values / (1 - values))
        head[row, column, 4] = head[row, column, 5 + label] = 8


def make_set(counts: list[int], width: int = 100, height: int = 60) -> EvalSet:
    rng = np.random.default_rng(0)
    annotations: list[Annotation] = []
    for count in counts:
        boxes = random_boxes(rng, count, 60)
        boxes = np.array([[10 + 45 * i, 12, 30 + 45 * i, 40] for i in range(count)], np.float32).reshape(-1, 4)
        labels = [i % 2 for i in range(count)]
        annotations.append(annotation_from(width, height, boxes.tolist(), labels, [False] * count, [False] * count))
    images = np.zeros((len(counts), IMGSZ, IMGSZ, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(counts))
    letterboxes = tuple(fit(width, height, IMGSZ) for _ in counts)
    return EvalSet(("a", "b"), tuple(map(str, range(len(counts)))), images, letterboxes, tuple(annotations))


def test_a_predictor_that_knows_the_truth_scores_one() -> None:
    eval_set = make_set([2, 0, 1, 2])
    result = evaluate(Oracle(eval_set), eval_set, batch=3)
    assert result.metrics == pytest.approx({"map50": 1, "map50_95": 1, "map50_voc07": 1, "precision": 1, "recall": 1})
    for rows, annotation in zip(result.detections, eval_set.annotations, strict=True):
        order = np.argsort(rows[:, 0])
        np.testing.assert_allclose(rows[order, :4], annotation.boxes, atol=1e-3)
    assert result.per_class["a"]["objects"] == 3
    assert result.per_class["b"]["ap50_voc07"] == 1


def test_batch_size_does_not_change_the_result() -> None:
    eval_set = make_set([2, 0, 1, 2, 1])
    results = [evaluate(Oracle(eval_set), eval_set, batch=b) for b in (1, 2, 32)]
    assert results[0].metrics == results[1].metrics == results[2].metrics


def test_the_clock_decides_nothing() -> None:
    eval_set = make_set([2, 1])
    slow = evaluate(Oracle(eval_set, delay_s=0.2), eval_set, batch=1)
    assert slow.metrics == evaluate(Oracle(eval_set), eval_set, batch=1).metrics


@pytest.mark.parametrize("counts", [[], [0, 0, 0]])
def test_an_empty_set_or_one_without_objects_scores_zero(counts: list[int]) -> None:
    eval_set = make_set(counts)
    result = evaluate(Oracle(eval_set), eval_set)
    assert set(result.metrics.values()) == {0.0}
    assert result.per_class == {}
    assert len(result.detections) == len(counts)


def test_single_label_finds_the_same_objects_here() -> None:
    eval_set = make_set([2, 1])
    result = evaluate(Oracle(eval_set), eval_set, options=mindx_options())
    assert result.metrics["map50"] == pytest.approx(1)


def test_curves_have_a_row_a_class() -> None:
    eval_set = make_set([1])
    curves = evaluate(Oracle(eval_set), eval_set).curves
    assert curves.precision.shape == (2, 101) == (2, len(curves.recall))
    assert curves.recall_at.shape == (2, len(curves.confidence))
    assert np.isnan(curves.precision[1]).all()


def test_detections_stay_inside_the_image() -> None:
    eval_set = make_set([2])
    short = annotation_from(40, 24, [], [], [], [])  # claims a smaller image: the second box lies outside it
    cut = EvalSet(eval_set.classes, eval_set.ids, eval_set.images, eval_set.letterboxes, (short,))
    rows = evaluate(Oracle(eval_set), cut).detections[0]
    assert len(rows) == 1
    assert rows[0, :4] == pytest.approx([10, 12, 30, 24], abs=1e-3)


def test_disagreement_between_model_and_data_is_an_error() -> None:
    eval_set = make_set([1])
    other = Oracle(eval_set)
    other.classes = ("a", "c")
    with pytest.raises(ConfigError, match="'c'"):
        evaluate(other, eval_set)
    other = Oracle(eval_set)
    other.imgsz = 96
    with pytest.raises(ConfigError, match=r"64 px.*96 px"):
        evaluate(other, eval_set)


class Finder(Oracle):
    """Finds the one bright box of each image by its pixels, on a canvas of any shape."""

    takes_any_shape = True

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        self.shapes.append(images.shape[1:3])
        rows, columns = images.shape[1:3]
        heads = [np.full((len(images), 1, rows // s, columns // s, 7), -20, np.float32) for s in STRIDES]
        for place, picture in enumerate(images):
            y, x = np.nonzero(picture[..., 0] == 255)
            self._write(heads[0][place, 0], np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], float), 0)
        return heads


def test_rectangles_give_the_metrics_of_squares_from_smaller_canvases() -> None:
    sizes = [(64, 20), (30, 64), (64, 64), (64, 33), (64, 30)]
    stored = np.full((len(sizes), IMGSZ, IMGSZ, 3), 114, np.uint8)
    truth = []
    for image, (width, height) in zip(stored, sizes, strict=True):
        image[2:14, 3:19] = 255
        truth.append(annotation_from(width, height, [[3, 2, 19, 14]], [0], [False], [False]))
    boxes = tuple(fit(width, height, IMGSZ) for width, height in sizes)
    eval_set = EvalSet(("a", "b"), tuple("vwxyz"), Letterboxed(stored, boxes), boxes, tuple(truth))
    squares, rectangles = Finder(), Finder()
    plain = evaluate(squares, eval_set, batch=2)
    least = evaluate(rectangles, eval_set, batch=2, rect=True)
    assert plain.metrics["map50_95"] == pytest.approx(1)
    assert least.metrics == plain.metrics
    for mine, theirs in zip(least.detections, plain.detections, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-3)
    assert set(squares.shapes) == {(64, 64)}
    assert rectangles.shapes == [(32, 64), (64, 64), (64, 32)]


def test_rectangles_are_refused_by_runtimes_that_take_squares_only() -> None:
    eval_set = make_set([1])
    with pytest.raises(ConfigError, match=r"oracle takes square images only: set evaluation\.rect=false"):
        evaluate(Oracle(eval_set), eval_set, rect=True)
