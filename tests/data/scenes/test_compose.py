from dataclasses import replace

import numpy as np
import pytest

from yoloslim.data.scenes import render_scene
from yoloslim.data.scenes.compose import Placed, annotate, look, without_hidden
from yoloslim.data.scenes.difficulty import difficulty_at
from yoloslim.data.voc import VOC_CLASSES

SIZE = 100


def _block(x: int, y: int, width: int, height: int, label: int = 0) -> Placed:
    return Placed(np.full((height, width, 4), 255, np.uint8), x, y, label)


def test_scene_depends_on_seed_split_and_index_only() -> None:
    image, annotation = render_scene(0, "train", 5, 96)
    render_scene(0, "train", 6, 96)
    again, same = render_scene(0, "train", 5, 96)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(annotation.boxes, same.boxes)
    for other in (("val", 5, 0), ("train", 6, 0), ("train", 5, 1)):
        split, index, seed = other
        assert not np.array_equal(image, render_scene(seed, split, index, 96)[0]), other


def test_scenes_hold_every_class_and_only_sound_boxes() -> None:
    annotations = [render_scene(1, "train", index, 64)[1] for index in range(120)]
    assert {int(label) for item in annotations for label in item.labels} == set(range(len(VOC_CLASSES)))
    boxes = np.concatenate([item.boxes for item in annotations])
    assert boxes.min() >= 0
    assert boxes.max() <= 64
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 1
    truncated = np.concatenate([item.truncated for item in annotations])
    touches = (boxes[:, :2] == 0).any(1) | (boxes[:, 2:] == 64).any(1)
    assert touches[truncated].all()
    assert 0.02 < truncated.mean() < 0.4
    assert max(len(item) for item in annotations) > 4


def test_image_is_rgb_of_the_size_asked_for() -> None:
    image, annotation = render_scene(0, "test", 0, 75)
    assert (image.shape, image.dtype) == ((75, 75, 3), np.uint8)
    assert (annotation.width, annotation.height) == (75, 75)


def test_hidden_part_lowers_visibility_but_not_the_box() -> None:
    back, front = _block(10, 10, 40, 40), _block(30, 10, 40, 40)
    seen = look([back, front], SIZE)
    assert [item.box for item in seen] == [(10, 10, 50, 50), (30, 10, 70, 50)]
    assert [item.visible for item in seen] == [0.5, 1.0]
    assert [item.inside for item in seen] == [1.0, 1.0]


def test_part_outside_is_cut_from_the_box_and_marks_it_truncated() -> None:
    things = [_block(-10, 20, 40, 20), _block(60, 60, 20, 20)]
    annotation = annotate(things, SIZE)
    assert annotation.boxes.tolist() == [[0, 20, 30, 40], [60, 60, 80, 80]]
    assert annotation.truncated.tolist() == [True, False]
    assert look(things, SIZE)[0].inside == 0.75


def test_transparent_margin_is_no_part_of_the_box() -> None:
    sprite = np.zeros((30, 30, 4), np.uint8)
    sprite[5:25, 10:20] = 255
    assert annotate([Placed(sprite, 40, 40, 3)], SIZE).boxes.tolist() == [[50, 45, 60, 65]]


@pytest.mark.parametrize(("covered", "difficult"), [(20, False), (26, True)])
def test_mostly_hidden_object_is_difficult(covered: int, difficult: bool) -> None:
    things = [_block(10, 10, 40, 40, label=7), _block(10, 10, covered, 40, label=-1)]
    annotation = annotate(things, SIZE)
    assert annotation.labels.tolist() == [7], "clutter has no box"
    assert annotation.difficult.tolist() == [difficult]


def test_tiny_object_is_difficult() -> None:
    assert annotate([_block(10, 10, 2, 2), _block(50, 50, 3, 2)], SIZE).difficult.tolist() == [True, False]


def test_object_that_nobody_can_see_is_taken_out() -> None:
    hidden, front = _block(12, 12, 20, 20), _block(10, 10, 40, 40)
    assert without_hidden([hidden, front], SIZE) == [front]
    assert without_hidden([_block(95, 95, 50, 50)], SIZE) == []


def test_taking_out_the_most_hidden_may_save_the_others() -> None:
    back, middle, front = _block(0, 0, 50, 20), _block(0, 0, 45, 20), _block(0, 0, 42, 20)
    left = without_hidden([back, middle, front], SIZE)
    assert left == [back, front]


def test_harder_scenes_are_smaller_fuller_and_noisier() -> None:
    easy, hard = difficulty_at(0.0), difficulty_at(1.0)
    assert easy.smallest > hard.smallest
    assert easy.most_objects < hard.most_objects
    clean = replace(easy, noise=0.0, blur=0.0, clutter=0)
    first, one = render_scene(3, "train", 1, 64, clean)
    second, two = render_scene(3, "train", 1, 64, replace(clean, noise=30.0))
    np.testing.assert_array_equal(one.boxes, two.boxes)
    assert np.diff(second.astype(int), axis=0).std() > np.diff(first.astype(int), axis=0).std()
