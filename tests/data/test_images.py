from pathlib import Path

import cv2
import numpy as np
import pytest

from yoloslim.data.images import read_image
from yoloslim.errors import DataError


def test_colours_come_out_as_rgb_for_every_kind_of_file(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "colour.png"), red)
    cv2.imwrite(str(tmp_path / "deep.png"), red.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "alpha.png"), cv2.cvtColor(red, cv2.COLOR_BGR2BGRA))
    for name in ("colour.png", "deep.png", "alpha.png"):
        assert read_image(tmp_path / name)[5, 5].tolist() == [255, 0, 0], name
    cv2.imwrite(str(tmp_path / "grey.jpg"), np.full((16, 16), 77, np.uint8))
    assert read_image(tmp_path / "grey.jpg")[5, 5].tolist() == [77, 77, 77]


def test_cmyk_is_read_and_turned_jpegs_come_out_upright(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("CMYK", (12, 8), (0, 0, 0, 0)).save(tmp_path / "cmyk.jpg")
    assert read_image(tmp_path / "cmyk.jpg").shape == (8, 12, 3)
    exif = pillow.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    pillow.new("RGB", (12, 8)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (12, 8, 3)


def test_jpeg_cut_anywhere_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    path = tmp_path / "cut.jpg"
    path.write_bytes(data + b"trailing bytes do no harm")
    assert read_image(path).shape == (64, 64, 3)
    for share in (0.01, 0.1, 0.5, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match=r"cut\.jpg"):
            read_image(path)


@pytest.mark.parametrize("data", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(DataError, match="no image that can be decoded"):
        read_image(tmp_path / "a.jpg")


def test_twelve_bits_in_sixteen_are_not_black(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 3), 2048, np.uint16)
    pixels[0, 0] = 4000
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    assert read_image(tmp_path / "a.png")[5, 5].tolist() == [128, 128, 128]
    cv2.imwrite(str(tmp_path / "a.tiff"), (pixels / 4096).astype(np.float32))
    assert read_image(tmp_path / "a.tiff")[5, 5].tolist() == [128, 128, 128]
    cv2.imwrite(str(tmp_path / "b.tiff"), np.full((8, 8, 3), np.nan, np.float32))
    with pytest.raises(DataError, match="not finite"):
        read_image(tmp_path / "b.tiff")
