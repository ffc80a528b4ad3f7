"""A pointer of Git LFS and a web page are named for what they are, wherever a file is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoloslim.data.archives import extract
from yoloslim.data.images import read_image
from yoloslim.deploy.describe import read_onnx
from yoloslim.documents import read_json_file, read_yaml
from yoloslim.errors import DataError
from yoloslim.models.foreign.load import read_model
from yoloslim.runner.instead import instead
from yoloslim.runner.pictures import read_picture

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><title>404 Not Found</title></html>"
READERS: dict[str, Callable[[Path], Any]] = {
    "a.jpg": read_image,
    "b.jpg": read_picture,
    "a.pt": read_model,
    "a.safetensors": read_model,
    "a.weights": read_model,
    "a.onnx": read_onnx,
    "a.zip": lambda path: extract(path, path.with_name("out")),
    "a.json": lambda path: read_json_file(path, DataError),
    "a.yaml": read_yaml,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (POINTER, "is a pointer of Git LFS and not the file: `git lfs pull` in its folder fetches that"),
        (PAGE, "is a web page that was saved in place of the file: download it again"),
    ],
)
def test_what_is_there_in_place_of_a_file_is_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(Exception, match=r"a web page|Git LFS") as raised:
        READERS[name](tmp_path / name)
    assert said in str(raised.value)
    assert name in str(raised.value)


def test_other_files_are_left_to_their_readers() -> None:
    for data in (b"", b"<annotation>", b"\xff\xd8\xff", b"names: [html]", b"version: 1", b'<?xml version="1.0"?><a/>'):
        assert instead(data) == ""
