import hashlib

import pytest
import torch
from torch import nn

from yoloslim.errors import ModelError
from yoloslim.models.blocks import MaxPool, Slice
from yoloslim.models.detector import build_detector, count_macs, count_params
from yoloslim.models.zoo import build_spec, model_names, read_family

PARAMS = {
    "yolov5n": (1_872_157, 1_790_977),
    "yolov5s": (7_235_389, 7_073_569),
    "yolov5m": (21_190_557, 20_948_097),
    "yolov5l": (46_563_709, 46_240_609),
    "yolov5x": (86_749_405, 86_345_665),
    "yolov5n6": (3_246_940, 3_131_020),
    "yolov5s6": (12_626_620, 12_395_500),
    "yolov5m6": (35_731_932, 35_385_612),
    "yolov5l6": (76_770_172, 76_308_652),
    "yolov5x6": (140_794_780, 140_218_060),
    "yolov5s-v5.0": (7_276_605, 7_114_785),
    "yolov5m-v5.0": (21_375_645, 21_133_185),
    "yolov5l-v5.0": (47_056_765, 46_733_665),
    "yolov5x-v5.0": (87_775_965, 87_372_225),
    "yolov5nu": (2_654_816, None),
    "yolov5su": (9_153_152, None),
    "yolov5mu": (25_111_456, None),
    "yolov5lu": (53_225_024, None),
    "yolov5xu": (97_276_448, None),
    "yolov8n": (3_157_200, 3_014_748),
    "yolov8s": (11_166_560, 11_143_340),
    "yolov8m": (25_902_640, 25_867_900),
    "yolov8l": (43_691_520, 43_645_260),
    "yolov8x": (68_229_648, 68_171_868),
    "yolov8x-p2": (66_637_536, None),
    "yolo11n": (2_624_080, 2_593_740),
    "yolo11s": (9_458_752, 9_435_532),
    "yolo11m": (20_114_688, 20_068_428),
    "yolo11l": (25_372_160, 25_325_900),
    "yolo11x": (56_966_176, 56_896_876),
    "yolo26n": (2_572_280, 2_511_600),
    "yolo26s": (10_009_784, 9_963_344),
    "yolo26m": (21_896_248, 21_803_728),
    "yolo26l": (26_299_704, 26_207_184),
    "yolo26x": (58_993_368, 58_854_768),
    "v5Lite-e": (787_085, 734_705),
    "v5Lite-s": (1_649_853, 1_568_673),
    "v5Lite-c": (4_591_901, 4_430_081),
    "v5Lite-g": (5_574_845, 5_505_185),
    "yolov3": (61_949_149, None),
    "yolov3-spp": (62_998_749, None),
    "yolov3-tiny": (8_852_366, None),
    "yolov4": (64_363_101, None),
    "yolov4-tiny": (6_056_606, None),
    "yolov4-tiny-3l": (6_327_453, None),
}
"""Of the public models with 80 and with 20 classes, biases and BatchNorm scales and shifts included."""
NOT_PUBLIC = {f"yolov8{size}-{level}" for size in "nsmlx" for level in ("p2", "p6")} - {"yolov8x-p2"} | {"yolov3u"}
"""Whose counts are published for another network, rounded, or not at all."""
GFLOPS = {
    "yolov8n": 8.74,
    "yolov8s": 28.60,
    "yolov8m": 78.94,
    "yolov8l": 165.15,
    "yolov8x": 257.80,
    "yolo11n": 6.48,
    "yolo11s": 21.47,
    "yolo11m": 67.98,
    "yolo11l": 86.91,
    "yolo11x": 194.90,
    "yolo26n": 5.96,
    "yolo26s": 22.53,
    "yolo26m": 74.77,
    "yolo26l": 93.01,
    "yolo26x": 208.36,
}
"""Of the convolutions at 640 px with 80 classes; of YOLO26 with both branches."""
NAMES_AND_SHAPES = {
    "yolov8n": "917507279c09cf19",
    "yolov8s": "cc5480e667b4b314",
    "yolov8m": "87cf2a31930079ae",
    "yolov8l": "fc2a1129d5ba7641",
    "yolov8x": "87b8dd3cb979a05a",
    "yolo11n": "febcc6632beca816",
    "yolo11s": "280cdfc3f0f34c04",
    "yolo11m": "1b186fc3a934b035",
    "yolo11l": "13eb8335320061de",
    "yolo11x": "db001a3b963253b8",
    "yolo26n": "71a4b793bcb20d32",
    "yolo26s": "e5c8036a22909632",
    "yolo26m": "324ef37fa87d7e79",
    "yolo26l": "283052152705213a",
    "yolo26x": "da9d04f0a7048608",
}
"""Start of the SHA-256 of the state dict's `name<TAB>shape` lines, in order, of the public models with 80 classes."""
DARKNET_FLOATS = {
    "yolov3": 62_001_757,
    "yolov3-spp": 63_052_381,
    "yolov3-tiny": 8_858_734,
    "yolov4": 64_429_405,
    "yolov4-tiny": 6_062_814,
    "yolov4-tiny-3l": 6_334_045,
}
"""Behind the header of the public `.weights` files: parameters and BatchNorm statistics."""


def classes(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def test_every_model_has_its_public_parameter_count() -> None:
    assert set(model_names()) == set(PARAMS) | NOT_PUBLIC
    for name, counts in PARAMS.items():
        for nc, expected in zip((80, 20), counts, strict=True):
            with torch.device("meta"):
                assert expected in (None, count_params(build_detector(name, classes(nc)))), (name, nc)


def test_levels_more_than_three_name_their_outputs() -> None:
    names = {name: list(build_spec(name, ("a",)).head.outputs(1, 640)) for name in ("yolov8n-p2", "yolov8n-p6")}
    assert names["yolov8n-p2"] == ["head_p2", "head_p3", "head_p4", "head_p5"]
    assert names["yolov8n-p6"] == ["head_p3", "head_p4", "head_p5", "head_p6"]


@pytest.mark.parametrize("name", [n if n[-1] in "ns" else pytest.param(n, marks=pytest.mark.slow) for n in GFLOPS])
def test_models_without_anchors_cost_what_public_ones_do(name: str) -> None:
    with torch.device("meta"):
        model = build_detector(name, classes(80))
    assert round(2e-9 * count_macs(model, 640), 2) == GFLOPS[name]


@pytest.mark.parametrize("name", NAMES_AND_SHAPES)
def test_state_dicts_have_the_public_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        state = build_detector(name, classes(80)).state_dict()
    lines = (f"{key}\t{'x'.join(map(str, value.shape)) or 'scalar'}\n" for key, value in state.items())
    assert hashlib.sha256("".join(lines).encode()).hexdigest()[:16] == NAMES_AND_SHAPES[name]


@pytest.mark.parametrize("name", DARKNET_FLOATS)
def test_darknet_models_hold_as_many_floats_as_their_weight_files(name: str) -> None:
    with torch.device("meta"):
        model = build_detector(name, classes(80))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert count_params(model) + sum(2 * m.num_features for m in norms) == DARKNET_FLOATS[name]
    assert {m.eps for m in norms} == {1e-5}
    assert model.spec.head.decoding.kind == "darknet"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("yolov5q", "did you mean yolov5"),
        ("v5lite-E", "did you mean v5Lite-e"),
        ("yolov4_tiny", "did you mean yolov4-tiny"),
        ("", "choose one of v5Lite-c, .*yolov5x"),
        ("resnet50", "choose one of"),
    ],
)
def test_unknown_model_names_the_nearest_that_exist(name: str, hint: str) -> None:
    with pytest.raises(ModelError, match=f"model '{name}' is not known; {hint}.*`yoloslim models` lists all"):
        build_spec(name, ("a",))


def test_sizes_scale_channels_and_repeats() -> None:
    def of(name: str) -> list[tuple[int | None, int | None]]:
        return [(layer.channels, layer.repeats) for layer in build_spec(name, ("a",)).layers if layer.block == "C3"]

    assert of("yolov5n")[:4] == [(32, 1), (64, 2), (128, 3), (256, 1)]
    assert of("yolov5m")[:4] == [(96, 2), (192, 4), (384, 6), (768, 2)]
    assert of("yolov5x")[:4] == [(160, 4), (320, 8), (640, 12), (1280, 4)]


def test_image_size_must_fit_the_coarsest_head() -> None:
    assert build_spec("yolov5n", ("a",), 96).imgsz == 96
    with pytest.raises(ModelError, match=r"model 'yolov5n6': imgsz 96 is not a multiple of 64, .* needs; 128 is the"):
        build_spec("yolov5n6", ("a",), 96)


FAMILY = """
source: a test
models: {toy: {}}
strides: [8]
anchors: [[[8, 8]]]
layers:
  - {block: Conv, channels: 8, kernel: 3}
  - {block: Conv, from: SOURCE, channels: 8, kernel: 3}
  - {block: Detect, from: [1]}
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("SOURCE", "1", r"layer 1 \(Conv\) reads layer 1, which is not before it: a cycle"),
        ("SOURCE", "2", r"layer 1 \(Conv\) reads layer 2, which is not before it: a cycle"),
        ("SOURCE", "9", r"layer 1 \(Conv\) reads layer 9, which does not exist"),
        ("SOURCE", "first", r"layer 1: inputs.0: Input should be a valid integer"),
        ("SOURCE", "0, colour: red", "layer 1: colour: Extra inputs are not permitted"),
        ("from: [1]", "from: [0, 1]", "the last layer must be a Detect that reads 1 layers"),
        ("strides", "steps", "head.strides: Field required"),
        ("models: {toy: {}}", "models: {}", "models: Dictionary should have at least 1 item"),
        ("strides: [8]", "strides: [8", "is not valid YAML"),
    ],
)
def test_architecture_file_with_a_mistake_is_refused_by_place(old: str, new: str, complaint: str) -> None:
    text = FAMILY.replace(old, new).replace("SOURCE", "-1")
    with pytest.raises(ModelError, match=f"architecture toy.yaml.*{complaint}"):
        read_family(text, "toy.yaml")


def test_darknet_pooling_reaches_right_and_down() -> None:
    x = torch.tensor([[-1.0, -2, -3], [-4, -5, -6], [-9, -8, -7]])[None, None]
    assert MaxPool(2, 1)(x)[0, 0].tolist() == [[-1, -2, -3], [-4, -5, -6], [-8, -7, -7]]
    assert MaxPool(2, 2)(x[..., :2, :2]).item() == -1
    assert torch.equal(MaxPool(5, 1)(x), nn.MaxPool2d(5, 1, 2)(x))


def test_grouped_route_gives_the_last_part() -> None:
    assert Slice(2)(torch.arange(4.0).view(1, 4, 1, 1)).flatten().tolist() == [2, 3]
