import numpy as np
import pytest
import torch

from yoloslim.evaluation.nms import decode
from yoloslim.evaluation.predictor.base import to_numpy
from yoloslim.heads import AnchorHead
from yoloslim.heads.anchor import YOLOV5_BOXES, BoxDecoding
from yoloslim.runner.heads import cells

ANCHORS = [[[10, 13], [16, 30]], [[116, 90], [156, 198]]]
STRIDES = [8, 32]


def head(decoding: BoxDecoding = YOLOV5_BOXES) -> AnchorHead:
    return AnchorHead(strides=STRIDES, anchors=ANCHORS, decoding=decoding)


def heads(seed: int = 0, batch: int = 2, classes: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(batch, 2, 8, 12, 5 + classes), (batch, 2, 2, 3, 5 + classes)]
    return [rng.normal(0, 3, shape).astype(np.float32) for shape in shapes]


def test_zero_logits_give_the_anchor_in_the_middle_of_its_cell() -> None:
    boxes, scores = decode([np.zeros((1, 2, 2, 3, 8), np.float32)], AnchorHead(strides=[8], anchors=ANCHORS[:1]))
    row, column = 1, 2
    cell = 1 * 6 + row * 3 + column  # second anchor
    centre_x, centre_y = (column + 0.5) * 8, (row + 0.5) * 8
    np.testing.assert_allclose(boxes[0, cell], [centre_x - 8, centre_y - 15, centre_x + 8, centre_y + 15])
    np.testing.assert_allclose(scores, 0.25)


DARKNET = BoxDecoding(kind="darknet", scale_x_y=(1.2, 1.05))


@pytest.mark.parametrize("decoding", [YOLOV5_BOXES, DARKNET])
def test_every_cell_equals_the_formula_written_out(decoding: BoxDecoding) -> None:
    levels = heads()
    (boxes, scores), position = decode(levels, head(decoding)), 0

    def s(t: float) -> float:
        return 1 / (1 + np.exp(-float(t)))

    for level, output in enumerate(levels):
        for a, y, x in np.ndindex(*output.shape[1:4]):
            t = output[1, a, y, x]
            cx, cy = (2 * s(t[0]) - 0.5 + x) * STRIDES[level], (2 * s(t[1]) - 0.5 + y) * STRIDES[level]
            w, h = (2 * s(t[2])) ** 2 * ANCHORS[level][a][0], (2 * s(t[3])) ** 2 * ANCHORS[level][a][1]
            if decoding is DARKNET:
                k = (1.2, 1.05)[level]
                cx, cy = ((k * s(t[i]) - (k - 1) / 2 + at) * STRIDES[level] for i, at in ((0, x), (1, y)))
                w, h = np.exp(t[2]) * ANCHORS[level][a][0], np.exp(t[3]) * ANCHORS[level][a][1]
            expected = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
            np.testing.assert_allclose(boxes[1, position], expected, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(scores[1, position], [s(t[4]) * s(c) for c in t[5:]], rtol=1e-4)
            position += 1
    assert (boxes.shape, scores.shape) == ((2, position, 4), (2, position, 3))


@pytest.mark.parametrize("decoding", [YOLOV5_BOXES, DARKNET])
def test_decoding_in_torch_gives_the_same(decoding: BoxDecoding) -> None:
    levels = [np.random.default_rng(0).normal(0, 3, (2, 2, n, n, 8)).astype(np.float32) for n in (8, 2)]
    mine, library = decode(levels, head(decoding)), head(decoding).decode([torch.from_numpy(x) for x in levels], 3, 64)
    for array, tensor in zip(mine, library, strict=True):
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-5, atol=1e-4)


def test_tensors_of_any_precision_become_arrays() -> None:
    for array in heads():
        np.testing.assert_array_equal(to_numpy(torch.from_numpy(array)), array)
        assert to_numpy(torch.from_numpy(array).bfloat16()).dtype == np.float32


def test_boxes_of_darknet_heads_stay_finite() -> None:
    one = AnchorHead(strides=[8], anchors=[[[10, 10]]], decoding=BoxDecoding(kind="darknet"))
    boxes, _ = decode([np.full((1, 1, 1, 1, 6), 1e4, np.float32)], one)
    assert np.isfinite(boxes).all()
    assert boxes[0, 0, 2] - boxes[0, 0, 0] > 1e5


@pytest.mark.parametrize("decoding", [YOLOV5_BOXES, DARKNET])
@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.25, 0.9])
def test_cells_above_a_threshold_are_those_of_decode(threshold: float, decoding: BoxDecoding) -> None:
    boxes, scores = decode(heads(), head(decoding))
    logits = np.concatenate([level.reshape(2, -1, 8)[..., 4] for level in heads()], axis=1).astype(np.float64)
    found = cells(heads(), head(decoding).facts(), {"conf_thres": threshold, "objectness_thres": 0.0})
    for image, each in enumerate(found):
        above = np.flatnonzero(1 / (1 + np.exp(-logits[image])) > threshold)
        np.testing.assert_array_equal(each.scores, scores[image, above])
        some = np.random.default_rng(0).permutation(len(above))[::2]
        np.testing.assert_array_equal(each.boxes(some), boxes[image, above[some]])


def test_inputs_stay_as_they_were() -> None:
    levels = heads()
    copies = [h.copy() for h in levels]
    decode(levels, head())
    for level, copy in zip(levels, copies, strict=True):
        np.testing.assert_array_equal(level, copy)
