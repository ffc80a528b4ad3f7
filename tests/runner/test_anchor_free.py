import numpy as np

from yoloslim.runner.heads import cells


def test_levels_without_any_cell_above_the_threshold_are_no_trouble() -> None:
    head = {"kind": "anchor_free", "strides": [8, 16], "bins": 16, "answers": None}
    outputs = [np.full((1, 66, side, side), -9, np.float32) for side in (4, 2)]
    options = {"conf_thres": 0.5, "objectness_thres": 0.0}
    empty = cells(outputs, head, options)[0]
    assert empty.boxes(np.arange(0)).shape == (0, 4)
    outputs[1][0, 64, 1, 0] = 9
    found = cells(outputs, head, options)[0]
    assert found.scores.shape == (1, 2)
    side = 7.5 * 16  # of equal bins the mean
    assert found.boxes(np.arange(1)).tolist() == [[8 - side, 24 - side, 8 + side, 24 + side]]
