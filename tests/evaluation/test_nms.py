import numpy as np
import pytest

from tests.evaluation.oracles import random_boxes, slow_nms
from yoloslim.errors import ConfigError
from yoloslim.evaluation import nms as module
from yoloslim.evaluation.nms import (
    FEW,
    NmsOptions,
    candidates,
    choose,
    decode,
    describe_suppression,
    detect,
    mindx_options,
)
from yoloslim.heads import AnchorHead
from yoloslim.models.zoo import build_spec
from yoloslim.runner import suppression


def crowd(seed: int, count: int = 150, classes: int = 4) -> np.ndarray:
    """Decoded rows with heavy overlap and many equal scores."""
    rng = np.random.default_rng(seed)
    centres = random_boxes(rng, 8)
    boxes = centres[rng.integers(0, 8, count)] + rng.normal(0, 4, (count, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    probabilities = rng.integers(0, 9, (count, 1 + classes)) / 8
    return np.concatenate([boxes, probabilities], axis=1).astype(np.float32)


def nms(rows: np.ndarray, options: NmsOptions | None = None) -> list[np.ndarray]:
    """Of decoded rows (B, n, 5 + classes) with an objectness, as anchor heads have one."""
    options = options or NmsOptions()
    scores = np.where(rows[..., 4:5] > options.objectness_thres, rows[..., 5:] * rows[..., 4:5], 0)
    return module.nms(rows[..., :4], scores, options)


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("max_det", [None, 5, 40])
@pytest.mark.parametrize(("conf", "iou"), [(0.001, 0.6), (0.3, 0.45), (0.05, 0.0), (0.05, 1.0)])
def test_result_equals_the_slow_reference(
    multi_label: bool, max_det: int | None, conf: float, iou: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression, "_FIRST_PREFIX", 16)  # so that the prefix has to grow
    for seed in range(4):
        rows = crowd(seed)
        options = NmsOptions(conf, iou, max_det, multi_label, objectness_thres=0.1)
        expected = slow_nms(rows, conf, iou, max_det, multi_label, 0.1)
        np.testing.assert_array_equal(nms(rows[None], options)[0], expected)


def test_heads_and_decoded_rows_give_the_same_detections() -> None:
    rng = np.random.default_rng(0)
    anchors, strides = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]]], [8, 16]
    heads = [rng.normal(0, 2, (3, 3, 64 // s, 64 // s, 9)).astype(np.float32) for s in strides]
    head = AnchorHead(strides=strides, anchors=anchors)
    for options in (NmsOptions(), NmsOptions(0.25, 0.45)):
        fast = detect(heads, head, options)
        for a, b in zip(fast, module.nms(*decode(heads, head), options), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("shift", "iou", "kept"), [(4, 0.42, 2), (4, 0.43, 2), (2.5, 0.6, 2), (2.4, 0.6, 1)])
def test_only_overlap_above_the_threshold_removes(shift: float, iou: float, kept: int) -> None:
    rows = np.array([[0, 0, 10, 10, 1, 0.9], [shift, 0, 10 + shift, 10, 1, 0.8]], np.float32)
    actual = (10 - shift) / (10 + shift)
    expected = 2 if actual <= iou else 1
    assert len(nms(rows[None], NmsOptions(iou_thres=iou))[0]) == expected
    assert expected == kept or shift == 4


def test_corners_in_any_order_make_the_same_box() -> None:
    rows = crowd(5)
    turned = rows.copy()
    turned[::2, [0, 2]], turned[1::3, [1, 3]] = rows[::2, [2, 0]], rows[1::3, [3, 1]]
    plain, other = nms(rows[None])[0], nms(turned[None])[0]
    assert len(plain) > 5
    np.testing.assert_array_equal(other[:, 4:], plain[:, 4:])
    labels, scores = np.zeros(len(rows), np.intp), np.linspace(1, 0.5, len(rows))
    kept = [suppression.suppress_greedily(each[:, :4], labels, scores, 0.6).tolist() for each in (rows, turned)]
    assert kept[0] == kept[1]
    assert len(kept[0]) < len(rows)


def test_classes_do_not_suppress_each_other() -> None:
    rows = np.array([[0, 0, 10, 10, 1, 0.9, 0.8]], np.float32)
    found = nms(rows[None])[0]
    np.testing.assert_array_equal(found[:, 5], [0, 1])
    assert len(nms(rows[None], mindx_options())[0]) == 1


def test_thresholds_are_strict() -> None:
    rows = np.array([[0, 0, 10, 10, 0.5, 0.5], [50, 50, 60, 60, 0.5, 0.75]], np.float32)
    assert len(nms(rows[None], NmsOptions(conf_thres=0.25))[0]) == 1
    assert len(nms(rows[None], mindx_options(0.0, objectness=0.5))[0]) == 0


def test_mindx_keeps_every_box_it_finds() -> None:
    boxes = np.array([[i * 20, 0, i * 20 + 10, 10] for i in range(400)], np.float32)
    rows = np.concatenate([boxes, np.full((400, 2), 0.9, np.float32)], axis=1)
    assert len(nms(rows[None], mindx_options())[0]) == 400
    assert len(nms(rows[None])[0]) == 300


def test_equal_scores_keep_their_order() -> None:
    boxes = np.array([[i * 20, 0, i * 20 + 10, 10] for i in range(50)], np.float32)
    rows = np.concatenate([boxes, np.full((50, 2), 0.5, np.float32)], axis=1)
    np.testing.assert_array_equal(nms(rows[None], NmsOptions(max_det=7))[0][:, :4], boxes[:7])


def test_nothing_to_find_gives_empty_arrays() -> None:
    assert nms(np.zeros((2, 9, 8), np.float32))[1].shape == (0, 6)
    assert nms(np.zeros((1, 0, 8), np.float32))[0].shape == (0, 6)
    not_a_number = np.full((1, 4, 8), np.nan, np.float32)
    assert nms(not_a_number)[0].shape == (0, 6)


@pytest.mark.parametrize("bad", [{"conf_thres": 1.0}, {"iou_thres": 1.5}, {"max_det": 0}, {"objectness_thres": -0.1}])
def test_thresholds_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
        NmsOptions(**bad)  # type: ignore[arg-type]


def test_suppression_is_told_in_words() -> None:
    once = build_spec("yolo26n", ("a",)).head
    assert describe_suppression(once, NmsOptions(max_det=7)) == "none, the 7 best of a head that finds each object once"
    many = once.model_copy(update={"answers": "one_to_many"})
    assert describe_suppression(many, NmsOptions(iou_thres=0.65)) == "NMS at an overlap of 0.65, the 300 best"
    assert (
        describe_suppression(build_spec("yolov5n", ("a",)).head, NmsOptions(max_det=None))
        == "NMS at an overlap of 0.6, all"
    )


def test_what_is_chosen_from_all_candidates_is_what_is_detected() -> None:
    rng = np.random.default_rng(5)
    head = AnchorHead(strides=(4,), anchors=[[[8.0, 8.0], [16.0, 8.0], [20.0, 20.0]]])
    heads = [rng.normal(0, 1, (1, 3, 40, 40, 8)).astype(np.float32)]
    for iou, most in ((0.6, 300), (0.2, 300), (0.9, 20), (0.1, 4000)):
        options = NmsOptions(iou_thres=iou, max_det=most)
        (rows,) = candidates(heads, head, options)
        assert len(rows) > FEW
        assert (np.diff(rows[:, 4]) <= 0).all()
        np.testing.assert_array_equal(choose(rows, head, options), detect(heads, head, options)[0])
