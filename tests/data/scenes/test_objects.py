import numpy as np
import pytest

from yoloslim.data.scenes.background import BACKDROPS, draw_backdrop
from yoloslim.data.scenes.compose import CLASS_WEIGHTS, HOMES
from yoloslim.data.scenes.objects import DRAWINGS, draw_sprite
from yoloslim.data.voc import VOC_CLASSES


def test_every_voc_class_has_a_drawing_and_a_home() -> None:
    assert tuple(sorted(DRAWINGS)) == VOC_CLASSES
    assert {name for home in HOMES.values() for name in home} == set(VOC_CLASSES)
    assert set(BACKDROPS) == {*HOMES, "texture"}


def test_classes_are_equally_frequent_and_people_twice_as_much() -> None:
    weight = {name: sum(name in home for home in HOMES.values()) * CLASS_WEIGHTS[name] for name in VOC_CLASSES}
    assert weight.pop("person") == pytest.approx(2)
    assert list(weight.values()) == pytest.approx([1] * 19)


@pytest.mark.parametrize("name", VOC_CLASSES)
def test_sprite_has_its_size_and_fills_a_fair_share_of_it(name: str) -> None:
    for seed in range(4):
        sprite = draw_sprite(np.random.default_rng(seed), DRAWINGS[name], 80)
        mask = sprite[..., 3] > 127
        assert max(sprite.shape[:2]) == 80
        assert min(sprite.shape[:2]) >= 10
        assert 0.12 < mask.mean() < 1
        rows, columns = np.nonzero(mask)
        assert np.ptp(rows) >= sprite.shape[0] - 4
        assert np.ptp(columns) >= sprite.shape[1] - 4
        assert (sprite[..., :3] <= sprite[..., 3:]).all(), "colours are multiplied by alpha"


@pytest.mark.parametrize("name", VOC_CLASSES)
def test_two_sprites_of_a_class_differ(name: str) -> None:
    one, two = (draw_sprite(np.random.default_rng(seed), DRAWINGS[name], 48) for seed in (0, 1))
    assert one.shape != two.shape or not np.array_equal(one, two)


@pytest.mark.parametrize("longest", [2, 8, 300])
def test_sprites_can_be_tiny_or_large(longest: int) -> None:
    sprite = draw_sprite(np.random.default_rng(0), DRAWINGS["bicycle"], longest)
    assert max(sprite.shape[:2]) == longest


@pytest.mark.parametrize("kind", sorted(BACKDROPS))
@pytest.mark.parametrize("size", [33, 128])
def test_backdrops_are_pictures_with_texture(kind: str, size: int) -> None:
    for seed in range(5):
        backdrop = draw_backdrop(np.random.default_rng(seed), kind, size)
        assert (backdrop.picture.shape, backdrop.picture.dtype) == ((size, size, 3), np.uint8)
        assert 0 <= backdrop.horizon < 0.8
        assert backdrop.picture.std() > 0.5
