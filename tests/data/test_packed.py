from pathlib import Path

import numpy as np
import pytest

from yoloslim.data.layouts import Item
from yoloslim.data.packed import PackedAnnotation
from yoloslim.data.voc import RawAnnotation, annotation_from


@pytest.mark.parametrize("count", [0, 1, 7])
def test_what_is_packed_comes_out_as_it_was(count: int) -> None:
    rng = np.random.default_rng(count)
    flags = rng.random((2, count)) < 0.5
    note = annotation_from(640, 480, rng.random((count, 4)), rng.integers(0, 1000, count), *flags)
    packed = PackedAnnotation(note)
    again = packed.unpacked()
    assert (len(packed), again.width, again.height) == (count, 640, 480)
    for name in ("boxes", "labels", "difficult", "truncated"):
        before, after = getattr(note, name), getattr(again, name)
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        np.testing.assert_array_equal(after, before)


def test_an_item_gives_back_its_paths() -> None:
    raw = RawAnnotation(0, 0, ())
    item = Item("a", Path("/set/images/a.jpg"), Path("labels/a.txt"), raw)
    assert (item.image, item.file) == (Path("/set/images/a.jpg"), Path("labels/a.txt"))
    assert Item("a", None, Path("a.txt"), raw).image is None
