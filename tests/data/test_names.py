import pytest

from yoloslim.data.names import near_equal, note_on_renamed, settle_class, settle_image, unique_names
from yoloslim.errors import DataError


@pytest.mark.parametrize(
    ("written", "settled"),
    [
        ("Traffic\nLight", "Traffic Light"),
        ("a\u2028b\x85c\rd\x00e", "a b c d e"),
        (" car  park ", "car park"),
        ("car/van", "car_van"),
        ("#hash", "_hash"),
        ("..", "_"),
        ("\ufeffcar\u202e", "car"),
        ("cafe\u0301", "caf\u00e9"),
        ("\udcff\udc80x", "_ff_80x"),
        ("x" * 500, "x" * 80),
        ("person", "person"),
    ],
)
def test_class_names_are_settled(written: str, settled: str) -> None:
    assert settle_class(written) == settled
    assert settle_class(settled) == settled


def test_image_names_have_no_blanks_and_no_leading_dash() -> None:
    assert settle_image("photo 0") == "photo_0"
    assert settle_image("-rf") == "_rf"
    assert settle_image("\n") == "_"


def test_folders_stand_in_front_of_names_that_two_share() -> None:
    assert unique_names(["train/1", "valid/1", "valid/2"]) == ["train-1", "valid-1", "2"]
    with pytest.raises(DataError, match="two images of one name"):
        unique_names(["a b", "a_b"])


def test_nearly_equal_classes_are_grouped() -> None:
    assert near_equal(["Traffic Light", "traffic_light", "car"]) == [["Traffic Light", "traffic_light"]]


def test_renamed_classes_are_told_and_blanks_around_a_name_are_not() -> None:
    assert note_on_renamed([" car\n", "bus"]) == []
    told = "2 class names are written otherwise here: 'a_b' for 'a/b', 'a b' for 'a\\u2028b'"
    assert note_on_renamed(["a/b", "a\u2028b", "bus"]) == [told]
