import os
from pathlib import Path

import pytest

from yoloslim.data.images import read_image
from yoloslim.data.xml_files import read_xml
from yoloslim.errors import DataError
from yoloslim.runner.bounded import read_bounded
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.pictures import read_picture
from yoloslim.runner.text import read_lines


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    assert read_bounded(tmp_path / "a", 4) == b"1234"
    with pytest.raises(OSError, match="it has 4 bytes, and 3 are allowed"):
        read_bounded(tmp_path / "a", 3)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "none", 3)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "huge.jpg").touch()
    os.truncate(tmp_path / "huge.jpg", 2**40)
    for path in (tmp_path / "pipe.jpg", tmp_path / "huge.jpg", Path("/dev/zero"), tmp_path, Path("a\0b.jpg")):
        with pytest.raises(DataError, match="cannot be read"):
            read_image(path)
        with pytest.raises(DataError, match="cannot be read"):
            read_xml(path)
        with pytest.raises(RunnerError, match="cannot be read"):
            read_picture(path)
        with pytest.raises(OSError, match=r"no file|bytes, and .* allowed"):
            read_lines(path)
