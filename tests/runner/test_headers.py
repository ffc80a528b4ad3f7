import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests import bombs
from yoloslim.data.images import read_image
from yoloslim.errors import DataError
from yoloslim.runner import headers, pictures
from yoloslim.runner.errors import RunnerError


@pytest.fixture(autouse=True)
def usual_limit():  # type: ignore[no-untyped-def]
    yield
    headers.limit_megapixels(headers.MEGAPIXELS)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".bmp", ".webp", ".tif", ".ppm", ".pgm"])
def test_what_opencv_writes_is_measured_without_decoding(kind: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 61, 1 if kind == ".pgm" else 3), np.uint8)
    assert headers.picture_size(cv2.imencode(kind, image)[1].tobytes()) == (61, 37)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *[("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {}), ("GIF", {})],
        *[("WEBP", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
        *[("TIFF", {"big_tiff": True}), ("JPEG", {"exif": b"Exif\0\0\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03"})],
    ],
)
def test_what_pillow_writes_is_measured_without_decoding(kind: str, options: dict[str, object]) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)).save(stream, kind, **options)
    assert headers.picture_size(stream.getvalue()) == (61, 37)


def test_an_alpha_channel_or_animation_in_webp_is_measured(tmp_path: Path) -> None:
    frames = [Image.new("RGBA", (61, 37), (i, 0, 0, 9)) for i in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    assert headers.picture_size((tmp_path / "a.webp").read_bytes()) == (61, 37)


@pytest.mark.parametrize("name", bombs.ALL)
@pytest.mark.parametrize("reader", ["library", "opencv", "pillow"])
def test_a_bomb_never_reaches_a_decoder(
    name: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise AssertionError("decoded")

    path = tmp_path / name
    path.write_bytes(bombs.ALL[name])
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(cv2, "imdecode", explode)
    monkeypatch.setattr(pictures, "_decode", explode)
    if reader == "pillow":
        monkeypatch.setattr(pictures, "cv2", None)
    with pytest.raises((DataError, RunnerError), match=r"declares \d+ x \d+ pixels, .*raise max_megapixels"):
        (read_image if reader == "library" else pictures.read_picture)(path)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xff\xd8\xff", b"\xff\xd8\xff\xc0\0", b"RIFF____WEBPVP8X", b"II*\0\xff\xff\xff\xff", b"BM"]
)
def test_what_is_cut_short_has_no_size(data: bytes) -> None:
    assert headers.picture_size(data) is None
    wanted = "; give JPEG, PNG, BMP, WebP or TIFF" if data == b"\xff" else "; copy it again, or remove it"
    assert headers.refusal(data).endswith(wanted)


@pytest.mark.parametrize("data", [b"\0\0\0\x0cjP  \r\n\x87\n", b"#?RADIANCE\n", b"v/1\x01", b"\x59\xa6\x6a\x95"])
def test_formats_whose_size_is_not_known_are_refused(data: bytes) -> None:
    assert "give JPEG, PNG, BMP, WebP or TIFF" in headers.refusal(data + bytes(100))


def test_the_limit_may_be_raised_and_lowered(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((100, 100, 3), np.uint8))
    headers.limit_megapixels(0.00999)
    with pytest.raises(DataError, match=r"declares 100 x 100 pixels, 0\.01 million, and no more than 0\.00999 million"):
        read_image(path)
    headers.limit_megapixels(0.01)
    assert read_image(path).shape == pictures.read_picture(path).shape == (100, 100, 3)


KNOWN = ("is no image that can be decoded", "is a truncated JPEG", "is empty")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_headers_never_crash(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for data in bombs.ALL.values():
        head = bytearray(data[:300])
        for at in rng.integers(0, len(head), 3):
            head[at] = rng.integers(0, 256)
        said = headers.refusal(bytes(head[: rng.integers(0, len(head))]))
        assert said == "" or any(word in said for word in (*KNOWN, "pixels"))
