import re

import numpy as np
import pytest

from yoloslim.deploy.ascend.aipp import aipp_config, aipp_twin, device_input
from yoloslim.deploy.manifest import Manifest, Output
from yoloslim.errors import DeployError
from yoloslim.runner.nv12 import from_nv12, to_nv12

MANIFEST = Manifest(
    files={"model.onnx": "0" * 64},
    model="m",
    input_name="images",
    input_shape=(1, 3, 320, 320),
    heads=(Output(name="head_p3", shape=(1, 3, 40, 40, 7)),),
    classes=("a", "b"),
    anchors=(((1, 1),),),
    strides=(8,),
    letterbox_align="center",
    letterbox_fill=114,
    opset=11,
    torch_version="2",
    max_abs_diff=0,
)


def keys(text: str) -> dict[str, str]:
    assert re.fullmatch(r"aipp_op \{\n(    \w+: \S+\n)+\}\n", text)
    return dict(re.findall(r"(\w+): (\S+)", text))


def test_nv12_configuration_holds_the_documented_values() -> None:
    values = keys(aipp_config(MANIFEST, "nv12"))
    assert values.pop("input_format") == "YUV420SP_U8"
    assert (values.pop("src_image_size_w"), values.pop("src_image_size_h")) == ("320", "320")
    matrix = [int(values.pop(f"matrix_r{r}c{c}")) for r in range(3) for c in range(3)]
    assert matrix == [256, 0, 359, 256, -88, -183, 256, 454, 0]
    assert [values.pop(f"input_bias_{i}") for i in range(3)] == ["0", "128", "128"]
    assert [values.pop(f"var_reci_chn_{i}") for i in range(3)] == ["0.0039216"] * 3
    assert values == {
        "aipp_mode": "static",
        "related_input_rank": "0",
        "crop": "false",
        "csc_switch": "true",
        "rbuv_swap_switch": "false",
    }


def test_rgb_configuration_converts_no_colours() -> None:
    values = keys(aipp_config(MANIFEST, "rgb"))
    assert values["input_format"] == "RGB888_U8"
    assert values["csc_switch"] == "false"
    assert not any(key.startswith(("matrix", "input_bias")) for key in values)
    assert values["var_reci_chn_2"] == "0.0039216"


def yuv_pixel(y: int, u: int, v: int) -> list[int]:
    return from_nv12(np.array([[[y, y], [y, y], [u, v]]], np.uint8))[0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("yuv", "rgb"),
    [
        ((0, 0, 0), [0, 135, 0]),  # the green that zeroed padding turns into
        ((255, 128, 128), [255, 255, 255]),
        ((114, 128, 128), [114, 114, 114]),
        ((76, 85, 255), [254, 0, 0]),  # red: 76 + 359 * 127 >> 8 = 254; 76 - 61 ... clamps; 76 - 77 clamps
        ((100, 127, 128), [100, 100, 98]),  # (25600 - 454) >> 8 = 98: the shift floors
    ],
)
def test_colour_conversion_of_hand_computed_pixels(yuv: tuple[int, int, int], rgb: list[int]) -> None:
    assert yuv_pixel(*yuv) == rgb


def test_floor_makes_rgb_at_most_one_darker_than_rounded_jfif() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 48, 32), dtype=np.uint8)
    luma, chroma = pixels[:, :32], pixels[:, 32:].reshape(4, 16, 16, 2)
    wide = chroma.repeat(2, 1).repeat(2, 2).astype(float) - 128
    u, v, y = wide[..., 0], wide[..., 1], luma.astype(float)
    exact = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], -1)
    difference = from_nv12(pixels).astype(int) - np.clip(np.rint(exact), 0, 255).astype(int)
    assert set(np.unique(difference)) <= {-1, 0}


def test_chroma_is_the_mean_of_four_pixels_and_luma_is_not() -> None:
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 0] = [255, 0, 0]
    # Luma of red, then a quarter of its Cb -43.03 and Cr +127.5.
    assert to_nv12(image)[0].tolist() == [[76, 0], [0, 0], [117, 160]]


def test_odd_sides_are_refused() -> None:
    with pytest.raises(DeployError, match="not 3 x 2"):
        device_input("nv12", np.zeros((1, 2, 3, 3), np.uint8))


def test_rgb_twin_is_float16_arithmetic() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    out = aipp_twin("rgb")(image)
    assert out.shape == (1, 3, 16, 16)
    assert out.dtype == np.float32
    assert out.flags.c_contiguous
    values = out[0, 0].ravel()
    np.testing.assert_array_equal(values, values.astype(np.float16))
    assert (values[0], values[255]) == (0.0, 1.0)
    exact = np.arange(256) / 255
    assert np.abs(values - exact).max() < 2.7e-4
    # Figures of the reference: 10 of 256 inputs differ from rounding x/255, by at most 4.9e-4.
    rounded = exact.astype(np.float16)
    assert np.count_nonzero(values.astype(np.float16) != rounded) == 10
    assert np.float16(0.0039216).view(np.uint16) == 0x1C04 == np.float16(1 / 255).view(np.uint16)


def test_nv12_twin_keeps_grey_and_blurs_colour() -> None:
    grey = np.full((1, 4, 4, 3), 114, np.uint8)
    np.testing.assert_array_equal(aipp_twin("nv12")(grey), aipp_twin("rgb")(grey))
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    assert np.abs(aipp_twin("nv12")(noise) - aipp_twin("rgb")(noise)).max() > 0.1
    smooth = noise[:, ::4, ::4].repeat(4, 1).repeat(4, 2)  # chroma constant in every 2 x 2 block
    assert np.abs(aipp_twin("nv12")(smooth) - aipp_twin("rgb")(smooth)).max() < 4 / 255
