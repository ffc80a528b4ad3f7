"""Where images come from: addresses of cameras stay as they are, pictures of other kinds are named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yoloslim.errors import DataError
from yoloslim.tasks.feeds import PATIENCE_S
from yoloslim.tasks.sources import SILENCE_S, Stream, image_paths, is_stream, stem_of


@pytest.mark.parametrize("source", ["rtsp://me:secret@10.0.0.9:554/cam/1", "RTSP://cam", "http://cam/stream.mjpg", "0"])
def test_addresses_and_numbers_are_streams(source: str) -> None:
    assert is_stream(source)
    assert "secret" not in stem_of(source)
    assert "/" not in stem_of(source)


def test_an_address_reaches_opencv_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Capture:
        def isOpened(self) -> bool:
            return False

    monkeypatch.setattr("cv2.VideoCapture", lambda *given: opened.append(given) or Capture())
    address = "rtsp://me:secret@10.0.0.9:554/cam/1?low=1"
    with pytest.raises(DataError, match=r"camera 10\.0\.0\.9-cam-1 does not answer"):
        Stream(address)
    limit_ms = 1000 * int(SILENCE_S)
    assert opened == [(address, cv2.CAP_ANY, [cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms])]
    assert 3 * limit_ms < 1000 * PATIENCE_S  # a camera that freezes is connected again before it is given up


def test_a_gif_is_treated_alone_as_in_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    for name in ("a.gif", "b.png"):
        picture.save(tmp_path / name)
    assert image_paths(str(tmp_path)) == [tmp_path / "b.png"]
    assert "1 pictures of kinds that are not read are left out, such as a.gif" in caplog.text
    with pytest.raises(DataError, match=r"a\.gif: pictures of this kind are not read; save it as PNG"):
        image_paths(str(tmp_path / "a.gif"))


def test_side_files_of_macos_in_a_folder_are_no_pictures(tmp_path: Path) -> None:
    for name in ("._b.png", "b.png"):
        (tmp_path / name).touch()
    assert image_paths(str(tmp_path)) == [tmp_path / "b.png"]


def test_a_list_may_have_paths_as_windows_writes_them(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b 0.png"):
        (tmp_path / "pictures" / name).touch()
    (tmp_path / "list.txt").write_bytes(b"pictures\\a.png 1\r\npictures\\b 0\r\n")
    assert image_paths(str(tmp_path / "list.txt")) == [tmp_path / "pictures/a.png", tmp_path / "pictures/b 0.png"]
