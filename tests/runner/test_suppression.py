import json

import numpy as np
import pytest

from tests.evaluation.oracles import random_case
from yoloslim.boxes import letterbox
from yoloslim.evaluation.evaluate import score
from yoloslim.evaluation.nms import NmsOptions, detect
from yoloslim.heads import AnchorHead
from yoloslim.heads.anchor import BoxDecoding
from yoloslim.runner import pictures, scores
from yoloslim.runner.cells import Cells
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.suppression import DEFAULTS, find, suppress
from yoloslim.runner.voc import Truth

ANCHORS = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))
STRIDES = (8, 16, 32)
DECODINGS = {
    "yolov5": BoxDecoding(),
    "darknet": BoxDecoding(kind="darknet", scale_x_y=(1.2, 1.1, 1.05)),
}


def random_heads(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    heads = [rng.normal(0, 2, (1, 3, n, n, 9)).astype(np.float32) for n in (16, 8, 4)]
    for head in heads:
        head[..., 4] -= 3
    return heads


def head(kind: str = "yolov5") -> AnchorHead:
    return AnchorHead(strides=STRIDES, anchors=ANCHORS, decoding=DECODINGS[kind])


def bundle(kind: str = "yolov5") -> dict[str, object]:
    """As bundle.json has it."""
    outputs = [{"name": name, "shape": list(shape)} for name, shape in head(kind).outputs(4, 128).items()]
    return {"head": json.loads(json.dumps(head(kind).facts())), "outputs": outputs}


@pytest.mark.parametrize("kind", DECODINGS)
@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("max_det", [None, 20])
def test_detections_equal_the_librarys(multi_label: bool, max_det: int | None, kind: str) -> None:
    options = {**DEFAULTS, "conf_thres": 0.05, "multi_label": multi_label, "max_det": max_det, "objectness_thres": 0.1}
    heads = random_heads(0)
    mine = find(heads[::-1], bundle(kind), options)  # compilers may reorder outputs
    library = detect(heads, head(kind), NmsOptions(0.05, 0.6, max_det, multi_label, 0.1))[0]
    assert len(mine) > 15
    np.testing.assert_allclose(mine, library, rtol=1e-5, atol=1e-4)


def test_nothing_above_the_threshold_gives_no_rows() -> None:
    assert find(random_heads(0), bundle(), {**DEFAULTS, "conf_thres": 0.999}).shape == (0, 6)


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(RunnerError, match=r"of which 0 have the shape \(batch, 3, 8, 8, 9\) that is described"):
        find(random_heads(0)[::2], bundle(), DEFAULTS)


@pytest.mark.parametrize("change", [{"anchors": []}, {"strides": [0, 0, 0]}, {"strides": [8]}])
def test_head_that_does_not_describe_every_level_is_refused(change: dict[str, object]) -> None:
    damaged = {**bundle(), "head": {**head().facts(), **change}}
    with pytest.raises(RunnerError, match="the head describes"):
        find(random_heads(0), damaged, DEFAULTS)


def test_head_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RunnerError, match="head kind 'os' is not known; known: anchor"):
        find(random_heads(0), {**bundle(), "head": {"kind": "os"}}, DEFAULTS)


def test_heads_that_need_no_suppression_give_the_best_pairs() -> None:
    scores = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    cells = Cells(scores, lambda which: np.tile(which[:, None].astype(np.float32), (1, 4)), nms=False)
    rows = suppress(cells, {**DEFAULTS, "conf_thres": 0.2, "max_det": 7})
    best = np.argsort(-scores.ravel(), kind="stable")[:7]
    np.testing.assert_array_equal(rows[:, 4], scores.ravel()[best])
    np.testing.assert_array_equal(rows[:, [0, 5]], np.stack(np.divmod(best, 3), 1))


@pytest.mark.parametrize("align", ["center", "topleft"])
@pytest.mark.parametrize(("width", "height"), [(100, 60), (37, 500), (64, 64), (20, 10)])
def test_letterboxing_equals_the_librarys(width: int, height: int, align: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    canvas, place = pictures.letterbox(image, 64, align)
    wanted, geometry = letterbox(image, 64, align)  # type: ignore[arg-type]
    np.testing.assert_array_equal(canvas, wanted)
    rows = np.array([[5, 7, 40, 50, 0.9, 1], [0, 0, 64, 64, 0.5, 0]], np.float32)
    boxes = geometry.to_image(rows[:, :4], width, height)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    np.testing.assert_allclose(place.to_image(rows)[:, :4], boxes[inside], rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_mean_average_precision_equals_the_librarys(seed: int) -> None:
    notes, found = random_case(seed)
    for rows in found:  # its noise turns a few boxes inside out
        rows[:, :4] = np.concatenate(
            [np.minimum(rows[:, :2], rows[:, 2:4]), np.maximum(rows[:, :2], rows[:, 2:4])], axis=1
        )
    truth = [Truth(note.boxes, note.labels, note.difficult) for note in notes]
    mine = scores.mean_average_precision(truth, found, 4)
    wanted = score(notes, found, ("a", "b", "c", "d")).metrics
    assert mine.keys() == {"map50", "map50_95", "map50_voc07"}
    assert mine["map50"] > 0.2
    for name, value in mine.items():
        assert value == pytest.approx(wanted[name], abs=1e-9), name


def test_a_set_without_objects_scores_nothing() -> None:
    empty = Truth(np.empty((0, 4)), np.empty(0), np.empty(0))
    assert scores.mean_average_precision([empty], [np.zeros((0, 6), np.float32)], 2)["map50"] == 0
