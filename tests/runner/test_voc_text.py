from pathlib import Path

import cv2
import numpy as np
import pytest

from yoloslim.runner.errors import RunnerError
from yoloslim.runner.voc import read_image_set, read_truth


def test_board_reads_lists_with_marks_flags_and_blanks(tmp_path: Path) -> None:
    for name in ("photo 0", "plain"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "._plain.jpg").write_bytes(b"x")
    (tmp_path / "set.txt").write_bytes("photo 0  1\nplain -1\n".encode("utf-16"))
    assert [path.name for path in read_image_set(tmp_path / "set.txt")] == ["photo 0.jpg", "plain.jpg"]


@pytest.mark.parametrize("name", ["a\0b", "\0../a", "a/\0/b", "x" * 300 + "/a", "\ud83d/a"], ids=repr)
def test_board_refuses_names_that_no_file_has(tmp_path: Path, name: str) -> None:
    (tmp_path / "set.txt").write_bytes(name.encode("utf-8", "surrogatepass"))
    with pytest.raises(RunnerError, match=r"set\.txt"):
        read_image_set(tmp_path / "set.txt")


def test_board_reads_multi_byte_annotations_and_swaps_corners(tmp_path: Path) -> None:
    box = "<bndbox><xmin>9</xmin><ymin>8</ymin><xmax>2</xmax><ymax>3</ymax></bndbox>"
    text = f"<annotation><object><name>蓝\n色</name><difficult>True</difficult>{box}</object></annotation>"
    (tmp_path / "a.xml").write_bytes(f'<?xml version="1.0" encoding="gbk"?>{text}'.encode("gbk"))
    truth = read_truth(tmp_path / "a.xml", ["蓝 色"])
    assert truth.boxes.tolist() == [[1, 2, 9, 8]]
    assert truth.difficult.tolist() == [True]
