import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from yoloslim.config import DataParams
from yoloslim.data.layouts import Item, Items
from yoloslim.data.packed import PackedAnnotation, Paths
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import RawAnnotation, RawObject, annotation_from
from yoloslim.errors import DataError


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


def test_items_come_back_from_their_file_as_they_were() -> None:
    boxes = [RawObject("cat", (1.5, 2.0, 3.25, 4.0), True, False, " cat"), RawObject("dog", (0, 0, 9, 9), False, True)]
    written = [
        Item("a", Path("/set/images/a.jpg"), Path("labels/a.txt"), RawAnnotation(64, 48, boxes, "pixels", "a.jpg")),
        Item("b\udce9", None, Path("b\udce9.txt"), DataError("b.txt holds nothing"), 3),
        Item("c", Path("c.png"), Path("c.xml"), RawAnnotation(0, 0, ())),
    ]
    items = Items()
    for item in written:
        items.append(item)
    assert (len(items), items.names) == (3, ["a", "b\udce9", "c"])
    first, second, third = items
    assert isinstance(first.raw, RawAnnotation)
    assert first.raw.objects == tuple(boxes)
    assert (first.raw.width, first.raw.height, first.raw.units, first.raw.filename) == (64, 48, "pixels", "a.jpg")
    assert [(i.image, i.file, i.lost) for i in items] == [(i.image, i.file, i.lost) for i in written]
    assert str(second.raw) == "b.txt holds nothing"
    assert isinstance(second.raw, DataError)
    assert isinstance(third.raw, RawAnnotation)
    assert third.raw.objects == items[2].raw.objects == ()  # type: ignore[union-attr]
    items.append(written[0])  # behind what was read already
    assert items[3].image == Path("/set/images/a.jpg")


def test_paths_come_back_as_they_were() -> None:
    given = [Path("/set/a/1.jpg"), Path("/set/b/2 é.png"), Path("3.bmp"), Path("/set/a/4\udce9.jpg")]
    paths = Paths(given)
    assert (len(paths), list(paths), paths[1]) == (4, given, given[1])
    assert paths.folders() == [Path("/set/a"), Path("/set/b"), Path()]


def test_a_large_set_takes_little_memory(tmp_path: Path) -> None:
    """2.0 MB for 1,500 images, where paths and boxes as objects took 4.9: what is held are names and a table.

    One of three turns has to: now and then Python's table of interned words, into which pathlib puts its names, is
    copied into a larger one, which is megabytes in a process that has run many tests.
    """
    images, root = 1500, tmp_path / "set"
    root.mkdir()
    picture = cv2.imencode(".bmp", np.zeros((2, 2, 3), np.uint8))[1].tobytes()[:-16]
    names = [str(root / f"{number:05d}.bmp") for number in range(images)]
    for number, name in enumerate(names):
        Path(name).write_bytes(picture + number.to_bytes(16, "little"))
        Path(name).with_suffix(".txt").write_text("0 0.5 0.5 1 1\n" * 7)
    for split, first in (("train", 0), ("val", 500), ("test", 1000)):
        (root / f"{split}.list").write_text("\n".join(names[first : first + 500]))
    (root / "data.yaml").write_text("train: train.list\nval: val.list\ntest: test.list\nnames: [a]\n")
    params = DataParams(source="yolo", path=str(root), workers=1)
    report = prepare(params, tmp_path / "first")  # imports what it needs
    assert report["boxes_total"] == {"train": 3500, "val": 3500, "test": 3500}
    peaks: list[int] = []
    while len(peaks) < 3 and not any(peak < 3.5e6 for peak in peaks):
        tracemalloc.start()
        prepare(params, tmp_path / f"again{len(peaks)}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks) < 3.5e6
