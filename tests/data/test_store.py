import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.splits import write_split
from yoloslim.boxes import FILL, letterbox
from yoloslim.data.augment import Augmentation, Augmenter
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.images import read_image
from yoloslim.data.store import geometries, image_store
from yoloslim.data.trainset import load_train_set
from yoloslim.data.voc import VocSplit, annotation_from
from yoloslim.errors import DataError


def stores(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.npy"))


def test_images_lie_at_the_top_left_and_the_rest_is_grey(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    stored = image_store(split, 64, tmp_path / "cache").pixels
    assert stored.shape == (4, 64, 64, 3)
    assert stored.dtype == np.uint8
    for i, geometry in enumerate(geometries(split, 64)):
        expected, _ = letterbox(read_image(split.image_path(i)), 64, "topleft")
        np.testing.assert_array_equal(stored[i], expected)
        assert (geometry.left, geometry.top) == (0, 0)
        assert (stored[i, geometry.height :] == FILL).all()
        assert (stored[i, :, geometry.width :] == FILL).all()
    np.testing.assert_array_equal(stored[0], read_image(split.image_path(0)))


def test_store_is_made_once_and_opened_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = write_split(tmp_path / "voc")
    first = image_store(split, 64, tmp_path / "cache").pixels
    monkeypatch.setattr("yoloslim.data.store._decode", pytest.fail)
    again = image_store(split, 64, tmp_path / "cache")
    again.check(np.arange(4))
    np.testing.assert_array_equal(again.pixels, first)
    assert isinstance(again.pixels, np.memmap)
    assert not again.pixels.flags.writeable


def test_same_content_elsewhere_shares_the_store(tmp_path: Path) -> None:
    for name in ("one", "two"):
        image_store(write_split(tmp_path / name), 64, tmp_path / "cache")
    assert len(stores(tmp_path / "cache")) == 1


@pytest.mark.parametrize("change", ["image", "imgsz", "order"])
def test_other_content_is_another_store(tmp_path: Path, change: str) -> None:
    split, cache = write_split(tmp_path / "voc"), tmp_path / "cache"
    first = image_store(split, 64, cache).pixels
    if change == "image":
        split.image_path(0).write_bytes(write_split(tmp_path / "other", seed=1).image_path(0).read_bytes())
    if change == "order":
        split = dataclasses.replace(split, ids=split.ids[::-1], annotations=split.annotations[::-1])
    second = image_store(split, 96 if change == "imgsz" else 64, cache).pixels
    assert len(stores(cache)) == 2
    assert second.shape != first.shape or (second[0] != first[0]).any()


def with_wrong_size(tmp_path: Path):  # type: ignore[no-untyped-def]
    split = write_split(tmp_path / "voc")
    wrong = annotation_from(65, 64, [], [], [], [])
    return split, dataclasses.replace(split, annotations=(wrong, *split.annotations[1:]))


def test_image_of_another_size_than_annotated_is_refused_and_leaves_no_store(tmp_path: Path) -> None:
    _, wrong = with_wrong_size(tmp_path)
    with pytest.raises(DataError, match=r"a0\.jpg is 64x64 px, but its annotation says 65x64"):
        image_store(wrong, 64, tmp_path / "cache")
    assert stores(tmp_path / "cache") == []


def test_wrong_size_is_noticed_even_when_the_images_are_stored_already(tmp_path: Path) -> None:
    split, wrong = with_wrong_size(tmp_path)
    image_store(split, 64, tmp_path / "cache")
    with pytest.raises(DataError, match="annotation says 65x64"):
        image_store(wrong, 64, tmp_path / "cache")


def test_truncated_image_is_refused_by_name_and_leaves_no_store(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    path = split.image_path(2)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a2\.jpg is a truncated JPEG"):
        image_store(split, 64, tmp_path / "cache")
    assert stores(tmp_path / "cache") == []


def test_missing_image_is_refused_by_name(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    split.image_path(1).unlink()
    with pytest.raises(DataError, match=r"a1\.jpg cannot be read: No such file or directory; run the data stage again"):
        image_store(split, 64, tmp_path / "cache")


def test_empty_split_is_an_empty_store(tmp_path: Path) -> None:
    split = dataclasses.replace(write_split(tmp_path / "voc"), ids=(), annotations=())
    assert image_store(split, 64, tmp_path / "cache").pixels.shape == (0, 64, 64, 3)


@pytest.mark.parametrize("damage", ["cut", "empty", "no end", "header", "a sum"])
def test_a_damaged_store_is_said_and_made_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    split, cache = write_split(tmp_path / "voc"), tmp_path / "cache"
    image_store(split, 64, cache)
    (store,) = stores(cache)
    data = store.read_bytes()
    header, a_sum = bytearray(data), bytearray(data)
    header[20] ^= 1
    a_sum[-40] ^= 1
    changed = {
        "header": header,
        "a sum": a_sum,
        "cut": data[:-60],
        "empty": b"",
        "no end": data[: 128 + 4 * 64 * 64 * 3],
    }
    store.write_bytes(bytes(changed[damage]))
    image_store(split, 64, cache)
    assert "is damaged, or was not written to its end: the images are decoded again" in caplog.text
    assert store.read_bytes() == data
    assert stores(cache) == [store]


def damaged_store(split: VocSplit, cache: Path, *images: int) -> bytes:
    """Change a bit of some images; what the file held before."""
    image_store(split, 64, cache)
    (store,) = stores(cache)
    data = bytearray(sound := store.read_bytes())
    for image in images:
        data[128 + image * 64 * 64 * 3 + 1000 * image] ^= 16
    store.write_bytes(data)
    return sound


@pytest.mark.parametrize("door", ["training", "evaluation"])
def test_a_damaged_image_is_decoded_again_when_its_pixels_are_wanted(
    tmp_path: Path, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    split, cache = write_split(tmp_path / "voc"), tmp_path / "cache"
    sound = damaged_store(split, cache, 1, 3)
    (store,) = stores(cache)
    if door == "training":
        found = Augmenter(load_train_set(split, 64, cache), Augmentation.none(), torch.device("cpu"))
        pixels = found.plan(torch.tensor([0, 1]), torch.Generator()).pixels
        assert pixels is not None
        images = pixels.numpy()
    else:
        images = np.asarray(load_eval_set(split, 64, cache).images[:2])
    np.testing.assert_array_equal(images[1], letterbox(read_image(split.image_path(1)), 64)[0])
    side = 64 * 64 * 3
    assert store.read_bytes()[: 128 + 3 * side] == sound[: 128 + 3 * side]
    assert store.read_bytes() != sound  # image 3 was not asked for, and not read
    assert f"image 1 of {store} was damaged on the disk and has been decoded again, as 1 of its 4" in caplog.text
    image_store(split, 64, cache).check(np.arange(4))
    assert store.read_bytes() == sound


def test_a_damaged_image_whose_source_has_changed_ends_in_a_sentence(tmp_path: Path) -> None:
    split, cache = write_split(tmp_path / "voc"), tmp_path / "cache"
    damaged_store(split, cache, 2)
    opened = image_store(split, 64, cache)
    split.image_path(2).write_bytes(write_split(tmp_path / "other", seed=1).image_path(2).read_bytes())
    opened.check(np.array([0, 1, 3]))
    with pytest.raises(DataError, match=r"image 2 of .*npy is damaged, and what it was made from no longer gives"):
        opened.check(np.arange(4))


def test_a_store_that_is_removed_while_it_is_open_is_read_on(tmp_path: Path) -> None:
    split, cache = write_split(tmp_path / "voc"), tmp_path / "cache"
    opened = image_store(split, 64, cache)
    stores(cache)[0].unlink()
    opened.check(np.arange(4))
    np.testing.assert_array_equal(opened.pixels[3], letterbox(read_image(split.image_path(3)), 64, "topleft")[0])


def test_a_store_of_no_image_is_one_too(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    none = dataclasses.replace(split, ids=(), annotations=())
    assert image_store(none, 64, tmp_path / "cache").pixels.shape == (0, 64, 64, 3)
