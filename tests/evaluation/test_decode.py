import numpy as np
import pytest
import torch

from yoloslim.evaluation.decode import cells_above, decode
from yoloslim.models.spec import YOLOV5_BOXES, BoxDecoding

ANCHORS = [[[10, 13], [16, 30]], [[116, 90], [156, 198]]]
STRIDES = [8, 32]


def heads(seed: int = 0, batch: int = 2, classes: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(batch, 2, 8, 12, 5 + classes), (batch, 2, 2, 3, 5 + classes)]
    return [rng.normal(0, 3, shape).astype(np.float32) for shape in shapes]


def test_zero_logits_give_the_anchor_in_the_middle_of_its_cell() -> None:
    out = decode([np.zeros((1, 2, 2, 3, 8), np.float32)], ANCHORS[:1], [8])
    row, column = 1, 2
    box = out[0, 1 * 6 + row * 3 + column]  # second anchor
    centre_x, centre_y = (column + 0.5) * 8, (row + 0.5) * 8
    np.testing.assert_allclose(box[:4], [centre_x - 8, centre_y - 15, centre_x + 8, centre_y + 15])
    np.testing.assert_allclose(box[4:], 0.5)


DARKNET = BoxDecoding(kind="darknet", scale_x_y=(1.2, 1.05))


@pytest.mark.parametrize("decoding", [YOLOV5_BOXES, DARKNET])
def test_every_cell_equals_the_formula_written_out(decoding: BoxDecoding) -> None:
    levels = heads()
    out, position = decode(levels, ANCHORS, STRIDES, decoding), 0

    def s(t: float) -> float:
        return 1 / (1 + np.exp(-float(t)))

    for level, head in enumerate(levels):
        for a, y, x in np.ndindex(*head.shape[1:4]):
            t = head[1, a, y, x]
            cx, cy = (2 * s(t[0]) - 0.5 + x) * STRIDES[level], (2 * s(t[1]) - 0.5 + y) * STRIDES[level]
            w, h = (2 * s(t[2])) ** 2 * ANCHORS[level][a][0], (2 * s(t[3])) ** 2 * ANCHORS[level][a][1]
            if decoding is DARKNET:
                k = (1.2, 1.05)[level]
                cx, cy = ((k * s(t[i]) - (k - 1) / 2 + at) * STRIDES[level] for i, at in ((0, x), (1, y)))
                w, h = np.exp(t[2]) * ANCHORS[level][a][0], np.exp(t[3]) * ANCHORS[level][a][1]
            expected = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, *map(s, t[4:])]
            np.testing.assert_allclose(out[1, position], expected, rtol=1e-4, atol=1e-4)
            position += 1
    assert out.shape == (2, position, 8)


def test_tensors_of_any_precision_decode_as_arrays_do() -> None:
    levels = heads()
    tensors = [torch.from_numpy(h) for h in levels]
    np.testing.assert_array_equal(decode(tensors, ANCHORS, STRIDES), decode(levels, ANCHORS, STRIDES))
    half = decode([t.bfloat16() for t in tensors], ANCHORS, STRIDES)
    assert half.dtype == np.float32


def test_boxes_of_darknet_heads_stay_finite() -> None:
    out = decode([np.full((1, 1, 1, 1, 6), 1e4, np.float32)], [[[10, 10]]], [8], BoxDecoding(kind="darknet"))
    assert np.isfinite(out).all()
    assert out[0, 0, 2] - out[0, 0, 0] > 1e5


@pytest.mark.parametrize("decoding", [YOLOV5_BOXES, DARKNET])
@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.25, 0.9])
def test_cells_above_a_threshold_are_those_of_decode(threshold: float, decoding: BoxDecoding) -> None:
    every = decode(heads(), ANCHORS, STRIDES, decoding)
    for rows, cells in zip(every, cells_above(heads(), ANCHORS, STRIDES, threshold, decoding), strict=True):
        above = rows[rows[:, 4] > threshold]
        np.testing.assert_array_equal(cells.confidences, above[:, 4:])
        some = np.random.default_rng(0).permutation(len(above))[::2]
        np.testing.assert_array_equal(cells.boxes(some), above[some, :4])


def test_inputs_stay_as_they_were() -> None:
    levels = heads()
    copies = [h.copy() for h in levels]
    decode(levels, ANCHORS, STRIDES)
    for cells in cells_above(levels, ANCHORS, STRIDES, 0.1):
        cells.boxes(np.arange(len(cells.confidences)))
    for level, copy in zip(levels, copies, strict=True):
        np.testing.assert_array_equal(level, copy)
