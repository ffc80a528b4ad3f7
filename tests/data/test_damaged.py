"""What the stage `data` makes of image files that are cut short or damaged inside."""

from pathlib import Path
from typing import Any

import pytest

from tests.data.layouts.test_malformed import write_voc
from tests.runner.test_damage import SAID, of_kind, spoil
from yoloslim.data.prepare import prepare


@pytest.mark.parametrize("how", ["cut", "zeros"])
def test_a_damaged_jpeg_is_named_in_the_report(
    tmp_path: Path, make_params: Any, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    images = sorted((write_voc(tmp_path / "voc") / "JPEGImages").iterdir())
    spoil(images[1], how)
    report = prepare(make_params(path=str(tmp_path / "voc"), source="auto"), tmp_path / "out")
    what = {"cut": "premature end of data segment", "zeros": "897 extraneous bytes before marker 0xd9"}[how]
    assert f"{SAID}{images[1].name} ({what}); copy or download it again, or remove it" in report["notes"]
    assert report["left_out"] == []
    assert "Corrupt JPEG" not in capfd.readouterr().err  # it is said once, with the name


def mixed_set(folder: Path, kind: str, spoiled: bytes) -> Path:
    """A set of 12 pictures of a kind, the second of which is other bytes."""
    root = write_voc(folder)
    for number, image in enumerate(sorted((root / "JPEGImages").iterdir())):
        image.unlink()
        image.with_suffix(f".{kind.split()[0]}").write_bytes(spoiled if number == 1 else of_kind(kind, number))
    return root


@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
@pytest.mark.parametrize("kind", ["png", "bmp", "webp", "tif raw", "tif lzw", "tif zip"])
def test_a_file_cut_short_is_left_out_and_named(tmp_path: Path, make_params: Any, kind: str, share: float) -> None:
    data = of_kind(kind)
    root = mixed_set(tmp_path / "voc", kind, data[: int(share * len(data))])
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    second = sorted((root / "JPEGImages").iterdir())[1]
    assert [(item["name"], second.name in item["reason"]) for item in report["left_out"]] == [(second.stem, True)]
    assert not [note for note in report["notes"] if "damaged inside" in note]


def test_a_damaged_tiff_is_named_in_the_report(
    tmp_path: Path, make_params: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(of_kind("tif zip"))
    data[len(data) // 2] ^= 255
    root = mixed_set(tmp_path / "voc", "tif zip", bytes(data))
    report = prepare(make_params(path=str(root), source="auto"), tmp_path / "out")
    second = sorted((root / "JPEGImages").iterdir())[1]
    (note,) = [note for note in report["notes"] if "damaged inside" in note]
    assert note.startswith(f"{SAID}{second.name} (ZIPDecode: ")
    assert report["left_out"] == []
    assert "TIFF_Error" not in capfd.readouterr().err
