import pytest

from yoloslim.data.split import seeded_split
from yoloslim.errors import DataError

NAMES = {f"image{i:03d}": f"photo{i}" for i in range(100)}


def test_shares_are_met_and_nothing_is_lost_or_dealt_twice() -> None:
    splits = seeded_split(NAMES, {"val": 0.1, "test": 0.25}, seed=0)
    assert {split: len(names) for split, names in splits.items()} == {"val": 10, "test": 25, "train": 65}
    assert sorted(name for names in splits.values() for name in names) == sorted(NAMES)


def test_same_seed_deals_the_same_and_another_seed_another_split() -> None:
    first = seeded_split(NAMES, {"val": 0.2}, seed=1)
    assert first == seeded_split(dict(reversed(NAMES.items())), {"val": 0.2}, seed=1)
    assert first != seeded_split(NAMES, {"val": 0.2}, seed=2)


def test_copies_of_one_photograph_stay_in_one_split() -> None:
    groups = {f"{copy}{i}": f"photo{i}" for i in range(20) for copy in "ab"}
    splits = seeded_split(groups, {"val": 0.3, "test": 0.3}, seed=3)
    where = {name: split for split, names in splits.items() for name in names}
    assert all(where[f"a{i}"] == where[f"b{i}"] for i in range(20))


def test_tiny_share_still_gets_one_image_and_zero_share_none() -> None:
    splits = seeded_split(NAMES, {"val": 0.001, "test": 0.0}, seed=0)
    assert (len(splits["val"]), len(splits["test"])) == (1, 0)


def test_every_split_of_three_images_has_one() -> None:
    splits = seeded_split({"a": "1", "b": "2", "c": "3"}, {"val": 0.45, "test": 0.45}, seed=0)
    assert sorted(len(names) for names in splits.values()) == [1, 1, 1]


def test_shares_that_leave_nothing_for_train_are_refused() -> None:
    with pytest.raises(DataError, match=r"val_share=0\.5 \+ test_share=0\.5 leaves no image for train"):
        seeded_split(NAMES, {"val": 0.5, "test": 0.5}, seed=0)


def test_fewer_photographs_than_splits_are_refused() -> None:
    with pytest.raises(DataError, match="1 different images cannot fill 2 splits"):
        seeded_split({"a": "same", "b": "same"}, {"val": 0.5}, seed=0)
