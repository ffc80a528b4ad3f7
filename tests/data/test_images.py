from pathlib import Path

import cv2
import numpy as np
import pytest

from yoloslim.data.images import holds_more, read_image
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
    with pytest.raises(DataError, match="no image that can be decoded" if data else r"is empty \(0 bytes\)"):
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


@pytest.mark.parametrize(("kind", "top"), [(np.float32, 1.0), (np.float32, 800.0), (np.float64, 1.0), (np.int32, 4000)])
def test_grey_tiffs_of_every_number_are_read_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: type, top: float
) -> None:
    pixels = (np.arange(64).reshape(8, 8) / 63 * top).astype(kind)
    if kind is np.float64:
        cv2.imwrite(str(tmp_path / "a.tif"), pixels)
    else:
        pytest.importorskip("PIL.Image").fromarray(pixels).save(tmp_path / "a.tif")
    white = {1.0: 1, 800.0: 1023, 4000: 4095}[top]
    wanted = np.rint(pixels.astype(float) * 255 / white)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.repeat(wanted[..., None], 3, 2))
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-40])
    with pytest.raises(DataError, match="no image that can be decoded"):
        read_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["webp", "png", "tif", "jpg"])
def test_files_of_several_pictures_are_told_from_those_of_one(tmp_path: Path, suffix: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    noise = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), np.uint8)
    one, other = map(pillow.fromarray, noise)
    one.save(tmp_path / f"one.{suffix}")
    assert not holds_more((tmp_path / f"one.{suffix}").read_bytes())
    if suffix != "jpg":
        one.save(tmp_path / f"two.{suffix}", save_all=True, append_images=[other])
        assert holds_more((tmp_path / f"two.{suffix}").read_bytes())
        assert not holds_more((tmp_path / f"two.{suffix}").read_bytes()[:20])
