"""Image files that are damaged inside are counted and named, whoever reads them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from yoloslim.data.images import read_image
from yoloslim.runner import damage

SAID = "1 image file is damaged inside and used as it can be decoded, grey or garbled from there on: "


def spoil(path: Path, how: str = "cut") -> None:
    """Damage the second half of a JPEG file, whose end marker stays."""
    pixels = np.random.default_rng(0).integers(0, 256, (*cv2.imread(str(path)).shape[:2], 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    half = len(data) // 2
    middle = {"cut": b"", "zeros": bytes(200) + data[half + 200 : -2]}[how]
    path.write_bytes(data[:half] + middle + b"\xff\xd9")


def test_several_threads_are_told_apart_and_what_else_is_written_passes(tmp_path: Path) -> None:
    program = """
import logging, os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from yoloslim.runner import damage
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


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("OpenCV TIFF: ZIPDecode: Warning, Decoding error at scanline 9.", "ZIPDecode: Warning, Decoding error ..."),
        ("OpenCV TIFF: JPEGLib: Warning, Corrupt JPEG data: premature end of data segment.", "premature end of ..."),
        ("OpenCV TIFF: TIFFReadDirectory: Warning, Unknown field with tag 700.", ""),
        ("imdecode_(''): can't read data: OpenCV(4.6.0) readBlock'\n", ""),
    ],
)
def test_what_opencv_4_6_says_is_understood(tmp_path: Path, said: str, reason: str, monkeypatch: Any) -> None:
    class Old:
        IMREAD_REDUCED_GRAYSCALE_8 = cv2.IMREAD_REDUCED_GRAYSCALE_8
        utils = None

        def __init__(self) -> None:
            self.levels: list[int] = []

        def setLogLevel(self, level: int) -> int:
            self.levels.append(level)
            return 2

        def imdecode(self, data: object, kind: int) -> bool:
            os.write(2, f"{said}\n".encode())
            return True

    monkeypatch.setattr(damage, "cv2", old := Old())
    (tmp_path / "a.tif").write_bytes(b"a picture")
    notes: list[str] = []
    with damage.told(notes.append), damage.noting(tmp_path / "a.tif"):
        old.imdecode(b"", 0)
    assert old.levels == [5, 2]
    start = f"{SAID}a.tif ({reason.removesuffix('...')}"
    assert [note.startswith(start) for note in notes] == ([True] if reason else [])
