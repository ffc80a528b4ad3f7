import dataclasses
import warnings
from pathlib import Path

import numpy as np
import torch

from tests.data.splits import write_split
from yoloslim.data.trainset import load_train_set


def test_boxes_are_in_canvas_pixels_and_difficult_ones_left_out(tmp_path: Path) -> None:
    found = load_train_set(write_split(tmp_path / "voc"), 64, tmp_path / "cache")
    scale = 64 / 61
    assert found.labels.tolist() == [[0], [1], [0], [-1]]
    expected = torch.tensor([[2.0, 3, 60, 59], [2 * scale, 3 * scale, 57 * scale, 35 * scale]])
    torch.testing.assert_close(found.boxes[:2, 0], expected)
    assert found.sizes.tolist() == [[64, 64], [64, 42], [42, 64], [45, 64]]
    assert (len(found), found.imgsz) == (4, 64)


def test_boxes_are_padded_to_the_longest_list(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    plain = dataclasses.replace(split.annotations[0], difficult=np.zeros(2, np.bool_))
    split = dataclasses.replace(split, annotations=(plain, *split.annotations[1:]))
    found = load_train_set(split, 64, tmp_path / "cache")
    assert found.labels.tolist() == [[0, 1], [1, -1], [0, -1], [-1, -1]]
    assert found.boxes[1, 1].tolist() == [0, 0, 0, 0]


def test_box_sizes_leave_out_the_padding(tmp_path: Path) -> None:
    found = load_train_set(write_split(tmp_path / "voc"), 64, tmp_path / "cache")
    assert found.box_sizes().shape == (3, 2)
    torch.testing.assert_close(found.box_sizes()[0], torch.tensor([58.0, 56.0]))


def test_images_stay_mapped_and_opening_them_warns_of_nothing(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_train_set(split, 64, tmp_path / "cache")
    assert found.images.dtype == torch.uint8
    assert found.images.shape == (4, 64, 64, 3)


def test_split_without_images_or_boxes_opens(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    found = load_train_set(dataclasses.replace(split, ids=(), annotations=()), 64, tmp_path / "cache")
    assert len(found) == 0
    assert found.box_sizes().shape == (0, 2)
    bare = dataclasses.replace(split, ids=split.ids[3:], annotations=split.annotations[3:])
    assert load_train_set(bare, 64, tmp_path / "cache").labels.tolist() == [[-1]]
