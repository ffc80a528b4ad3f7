import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yoloslim.data.exif import orientation, without_orientation
from yoloslim.data.images import read_image


def picture(kind: str, value: int) -> bytes:
    image = Image.new("RGB", (48, 32), (10, 10, 200))
    image.paste((240, 20, 20), (0, 0, 16, 16))
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = value
    image.save(stream, kind, **({"tiffinfo": {274: value}} if kind == "TIFF" else {"exif": exif}))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_is_followed_as_opencv_does(tmp_path: Path, kind: str, value: int) -> None:
    data = picture(kind, value)
    (tmp_path / "a.img").write_bytes(data)
    assert orientation(data) == value
    expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "a.img"), expected)


def test_orientation_is_taken_out_without_another_byte() -> None:
    data = picture("JPEG", 6)
    plain = without_orientation(data)
    assert orientation(plain) == 1
    assert sum(a != b for a, b in zip(data, plain, strict=True)) == 1


@pytest.mark.parametrize("cut", [3, 20, 30, 40])
def test_damaged_blocks_say_nothing(cut: int) -> None:
    assert orientation(picture("JPEG", 6)[:cut]) == 1
