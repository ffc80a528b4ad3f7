"""Pillow in place of OpenCV, as on a board that has nothing else: the same pictures, nearly."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yoloslim.runner import pictures
from yoloslim.runner.errors import RunnerError


def _smooth(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    image = Image.fromarray(_smooth(60, 80))
    for name in ("plain.jpg", "lossless.png", "bitmap.bmp", "web.webp", "plain.tif"):
        image.save(folder / name)
    image.convert("L").save(folder / "grey.jpg")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("P").save(folder / "palette.png")
    image.convert("LA").save(folder / "grey-alpha.png")
    image.convert("1").save(folder / "bits.png")
    alpha = np.dstack([_smooth(60, 80), np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))])
    Image.fromarray(alpha).save(folder / "alpha.png")
    deep = np.random.default_rng(1).integers(0, 1 << 16, (60, 80, 3), dtype=np.uint16)
    for suffix in ("png", "tif"):
        cv2.imwrite(str(folder / f"16bit-grey.{suffix}"), deep[..., 0])
    cv2.imwrite(str(folder / "16bit.png"), deep)
    Image.fromarray(deep[..., 0] / np.float32(65535)).save(folder / "float-grey.tif")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(folder / "rotated.jpg", exif=exif)
    return folder


NAMES = [
    *("plain.jpg", "lossless.png", "bitmap.bmp", "web.webp", "plain.tif", "grey.jpg", "cmyk.jpg", "palette.png"),
    *(
        "grey-alpha.png",
        "bits.png",
        "alpha.png",
        "16bit-grey.png",
        "16bit-grey.tif",
        "16bit.png",
        "float-grey.tif",
        "rotated.jpg",
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_pillow_reads_what_opencv_reads(name: str, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = pictures.read_picture(odd / name)
    monkeypatch.setattr(pictures, "cv2", None)
    found = pictures.read_picture(odd / name)
    assert found.shape == wanted.shape == ((80, 60, 3) if name == "rotated.jpg" else (60, 80, 3))
    assert found.dtype == np.uint8
    assert found.std() > 20  # neither black nor white
    np.testing.assert_allclose(found.astype(int), wanted.astype(int), atol=2)


def test_pillow_letterboxes_and_writes_nearly_as_opencv(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pictures.read_picture(odd / "lossless.png")

    def results(folder: Path) -> list[np.ndarray]:
        pictures.write_picture(folder / "written.png", image)
        np.testing.assert_array_equal(pictures.read_picture(folder / "written.png"), image)
        return [pictures.letterbox(image, size, "center")[0] for size in (40, 160)]

    wanted = results(tmp_path / "opencv")
    monkeypatch.setattr(pictures, "cv2", None)
    shrunk, grown = (a.astype(int) - b for a, b in zip(results(tmp_path / "pillow"), wanted, strict=True))
    assert np.abs(shrunk).max() <= 1
    assert np.abs(grown).max() <= 3


@pytest.mark.parametrize("library", ["opencv", "pillow"])
def test_what_is_no_picture_is_refused(
    library: str, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "pillow":
        monkeypatch.setattr(pictures, "cv2", None)
    for name, data in (("text.png", b"no picture"), ("empty.jpg", b""), ("cut.jpg", b"")):
        (tmp_path / name).write_bytes(data or (odd / "plain.jpg").read_bytes()[: 300 if name == "cut.jpg" else 0])
        with pytest.raises(RunnerError, match=name):
            pictures.read_picture(tmp_path / name)
