"""`eval` on photographs with an EXIF orientation: boxes meet the pixels, whichever size the annotation states."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from yoloslim.data.exif import swaps_sides, turned, turned_box
from yoloslim.data.images import read_image
from yoloslim.data.voc import annotation_from, write_annotation
from yoloslim.evaluation.nms import Floats
from yoloslim.runner.tasks import Inference
from yoloslim.tasks.evaluate_dataset import evaluate_dataset

BACK = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


@pytest.mark.parametrize("value", range(1, 9))
def test_boxes_turn_as_pixels_do(value: int) -> None:
    pixels = np.zeros((20, 30, 1), np.uint8)
    pixels[4:9, 7:19] = 1
    rows, columns, _ = np.nonzero(turned(pixels, value))
    box = turned_box((7, 4, 19, 9), (30, 20), value)
    assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


class Bright(Inference):
    """Finds what is bright."""

    backend, classes = "test", ("lamp",)

    def read(self, path: Path) -> np.ndarray:
        return read_image(path)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, None]:
        return image, None

    def infer(self, canvas: np.ndarray) -> list[Floats]:
        rows, columns = np.nonzero(canvas[..., 0] > 128)
        return [np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.9, 0]], np.float32)]

    def find(self, heads: list[Floats], place: None) -> Floats:
        return heads[0]

    def share_cores(self) -> int:
        return 1


@pytest.mark.parametrize("stated", ["stored", "upright"])
@pytest.mark.parametrize("value", [3, 5, 6, 7, 8])
def test_eval_finds_boxes_whichever_pixels_they_were_drawn_on(value: int, stated: str, tmp_path: Path) -> None:
    if stated == "stored" and not swaps_sides(value):
        pytest.skip("sizes cannot tell")
    upright = np.zeros((60, 90, 3), np.uint8)
    upright[8:30, 10:50] = 255
    stored = turned(upright, BACK[value])
    tag = bytes.fromhex(f"011200030000000100{value:02x}0000")
    body = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01" + tag + b"\x00\x00"
    data = cv2.imencode(".jpg", stored)[1].tobytes()
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "JPEGImages/a.jpg").write_bytes(
        data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    )
    box, (height, width) = (10.0, 8.0, 50.0, 30.0), upright.shape[:2]
    if stated == "stored":
        (height, width) = stored.shape[:2]
        box = turned_box(box, (90, 60), BACK[value])
    write_annotation(
        tmp_path / "Annotations/a.xml", "a.jpg", annotation_from(width, height, [box], [0], [0], [0]), ("lamp",)
    )
    (tmp_path / "ImageSets/Main/test.txt").write_text("a\n")
    assert evaluate_dataset(Bright(), tmp_path, "test").metrics["map50_95"] > 0.85
