"""Image files that are damaged inside are counted and named, whoever reads them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.data.layouts.test_malformed import write_voc
from yoloslim.data import damage
from yoloslim.data.images import read_image
from yoloslim.data.prepare import prepare

SAID = "1 image files are damaged inside and used as they can be decoded, grey or garbled from there on: "


def spoil(path: Path, how: str = "cut") -> None:
    """Damage the second half of a JPEG file, whose end marker stays."""
    pixels = np.random.default_rng(0).integers(0, 256, (*cv2.imread(str(path)).shape[:2], 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    half = len(data) // 2
    middle = {"cut": b"", "zeros": bytes(200) + data[half + 200 : -2]}[how]
    path.write_bytes(data[:half] + middle + b"\xff\xd9")


@pytest.mark.parametrize("how", ["cut", "zeros"])
def test_a_damaged_jpeg_is_named_in_the_report(
    tmp_path: Path, make_params: Any, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    images = sorted((write_voc(tmp_path / "voc") / "JPEGImages").iterdir())
    spoil(images[1], how)
    report = prepare(make_params(path=str(tmp_path / "voc"), source="auto"), tmp_path / "out")
    what = {"cut": "premature end of data segment", "zeros": "897 extraneous bytes before marker 0xd9"}[how]
    assert f"{SAID}{images[1].name} ({what}); copy or download them again, or remove them" in report["notes"]
    assert report["left_out"] == []
    assert "Corrupt JPEG" not in capfd.readouterr().err  # it is said once, with the name


def test_several_threads_are_told_apart_and_what_else_is_written_passes(tmp_path: Path) -> None:
    program = """
import logging, os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from yoloslim.data import damage
from yoloslim.data.images import read_image
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
paths = [Path(name) for name in sys.argv[1:]]
with damage.listening() as found, ThreadPoolExecutor(4) as pool:
    logging.warning("at once")
    os.write(2, b"a library in C\\nlibpng warning: iCCP: known incorrect sRGB profile\\n")
    list(pool.map(read_image, paths * 5))
    logging.warning("before the end")
logging.warning("after")
print([path.name for path in found], len(damage.sentence(found)))
"""
    for number in range(6):
        path = tmp_path / f"{number}.jpg"
        cv2.imwrite(str(path), np.full((200, 200, 3), 40 * number, np.uint8))
        if number in (1, 4):
            spoil(path)
    words = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout == "['1.jpg', '4.jpg'] 1\n"
    assert done.stderr.split("\n") == ["at once", "before the end", "a library in C", "after", ""]


def test_an_error_inside_leaves_standard_error_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((200, 200, 3), np.uint8))
    spoil(tmp_path / "a.jpg")
    with pytest.raises(IsADirectoryError), damage.listening() as found:
        (read_image(tmp_path / "a.jpg"), tmp_path.read_bytes())
    assert found == {}
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
    with damage.listening() as outer, damage.listening() as inner:
        read_image(tmp_path / "a.jpg")
    assert (list(outer), inner) == ([tmp_path / "a.jpg"], {})


def of_kind(kind: str, seed: int = 0) -> bytes:
    """A sound picture of 40 x 30 pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    suffix, *rest = kind.split()
    packing = {"lzw": 5, "zip": 8, "raw": 1}
    options = [cv2.IMWRITE_TIFF_COMPRESSION, packing[rest[0]]] if suffix == "tif" else []
    return cv2.imencode(f".{suffix}", pixels, options)[1].tobytes()


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
