"""JPEG files that are damaged inside are counted and named, whoever reads them."""

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

SAID = "1 JPEG files are damaged inside and used as they can be decoded, grey or garbled from there on: "


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
