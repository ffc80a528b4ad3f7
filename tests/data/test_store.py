import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.data.splits import write_split
from yoloslim.boxes import FILL, letterbox
from yoloslim.data.images import read_image
from yoloslim.data.store import geometries, image_store
from yoloslim.data.voc import annotation_from
from yoloslim.errors import DataError


def stores(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.npy"))


def test_images_lie_at_the_top_left_and_the_rest_is_grey(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    stored = image_store(split, 64, tmp_path / "cache")
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
    first = image_store(split, 64, tmp_path / "cache")
    monkeypatch.setattr("yoloslim.data.store._fill", pytest.fail)
    again = image_store(split, 64, tmp_path / "cache")
    np.testing.assert_array_equal(again, first)
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable


def test_same_content_elsewhere_shares_the_store(tmp_path: Path) -> None:
    for name in ("one", "two"):
        image_store(write_split(tmp_path / name), 64, tmp_path / "cache")
    assert len(stores(tmp_path / "cache")) == 1


@pytest.mark.parametrize("change", ["image", "imgsz", "order"])
def test_other_content_is_another_store(tmp_path: Path, change: str) -> None:
    split, cache = write_split(tmp_path / "voc"), tmp_path / "cache"
    first = image_store(split, 64, cache)
    if change == "image":
        split.image_path(0).write_bytes(write_split(tmp_path / "other", seed=1).image_path(0).read_bytes())
    if change == "order":
        split = dataclasses.replace(split, ids=split.ids[::-1], annotations=split.annotations[::-1])
    second = image_store(split, 96 if change == "imgsz" else 64, cache)
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
    assert image_store(split, 64, tmp_path / "cache").shape == (0, 64, 64, 3)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "no seal", "header"])
def test_a_damaged_store_is_said_and_made_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    split, cache = write_split(tmp_path / "voc"), tmp_path / "cache"
    first = np.array(image_store(split, 64, cache))
    (store,) = stores(cache)
    data = store.read_bytes()
    flipped, header = bytearray(data), bytearray(data)
    flipped[len(data) // 2] ^= 1
    header[20] ^= 1
    changed = {"flip": flipped, "header": header, "cut": data[:-60], "empty": b"", "no seal": data[:-49]}[damage]
    store.write_bytes(bytes(changed))
    np.testing.assert_array_equal(image_store(split, 64, cache), first)
    assert "is damaged, or was not written to its end: the images are decoded again" in caplog.text
    assert store.read_bytes() == data
    assert stores(cache) == [store]


def test_a_store_of_no_image_is_one_too(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    none = dataclasses.replace(split, ids=(), annotations=())
    assert image_store(none, 64, tmp_path / "cache").shape == (0, 64, 64, 3)
