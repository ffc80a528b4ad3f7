import pytest
import torch
from torch import nn

from yoloslim.errors import ModelError
from yoloslim.models.blocks import MaxPool, Slice
from yoloslim.models.detector import build_detector, count_params
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
    "v5Lite-e": (787_085, 734_705),
    "v5Lite-s": (1_649_853, 1_568_673),
    "v5Lite-c": (4_591_901, 4_430_081),
    "v5Lite-g": (5_574_845, 5_505_185),
    "yolov3": (61_949_149, None),
    "yolov3-spp": (62_998_749, None),
    "yolov3-tiny": (8_852_366, None),
    "yolov4": (64_363_101, None),
    "yolov4-tiny": (6_056_606, None),
}
"""Of the public models with 80 and with 20 classes, biases and BatchNorm scales and shifts included."""
DARKNET_FLOATS = {
    "yolov3": 62_001_757,
    "yolov3-spp": 63_052_381,
    "yolov3-tiny": 8_858_734,
    "yolov4": 64_429_405,
    "yolov4-tiny": 6_062_814,
}
"""Behind the header of the public `.weights` files: parameters and BatchNorm statistics."""


def classes(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def test_every_model_has_its_public_parameter_count() -> None:
    assert set(model_names()) == set(PARAMS)
    for name, counts in PARAMS.items():
        for nc, expected in zip((80, 20), counts, strict=True):
            with torch.device("meta"):
                assert expected in (None, count_params(build_detector(name, classes(nc)))), (name, nc)


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
        ("strides: [8]", "strides: [8", "is not YAML"),
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
