import pytest
from pydantic import ValidationError

from tests.tiny import tiny_spec
from yoloslim.heads.anchor import BoxDecoding
from yoloslim.models.spec import LayerSpec, ModelSpec, round_up
from yoloslim.models.zoo import build_spec


def test_spec_survives_json() -> None:
    spec = build_spec("yolov5s", ("cat", "dog"), 320)
    again = ModelSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.nc == 2


def test_spec_is_frozen_and_closed() -> None:
    spec = tiny_spec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="colour"):
        ModelSpec(**spec.model_dump(), colour="red")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"imgsz": 100}, "imgsz 100 is not a multiple of 32, which tiny needs; 128 is the next one"),
        ({"strides": (8, 16, 64), "imgsz": 96}, "imgsz 96 is not a multiple of 64, which tiny needs; 128"),
        ({"decoding": {"kind": "darknet", "scale_x_y": (1.1, 1)}}, r"scale_x_y \[1.1, 1.0\] does not fit strides"),
        ({"decoding": {"kind": "darknet", "scale_x_y": (1, 1, 3)}}, "less than or equal to 2"),
        ({"decoding": {"kind": "yolov8"}}, "'yolov5' or 'darknet'"),
        ({"classes": ()}, "at least 1 item"),
        ({"anchors": (((0, 4),),) * 3}, "greater than 0"),
        ({"anchors": (((4, 4),),) * 2}, "do not fit strides"),
        ({"anchors": (((4, 4),), ((4, 4),), ((4, 4), (5, 5)))}, "do not fit strides"),
        ({"anchors": ((), (), ())}, "do not fit strides"),
        ({"layers": ()}, "the last layer must be a Detect that reads 3 layers"),
        ({"layers": tiny_spec().layers[:-1]}, "the last layer must be a Detect"),
    ],
)
def test_spec_that_cannot_be_built_is_refused(change: dict[str, object], complaint: str) -> None:
    plain = tiny_spec().model_dump()
    fields = {key: value for key, value in change.items() if key in ("strides", "anchors", "decoding")}
    plain["head"].update(fields)
    with pytest.raises(ValidationError, match=complaint):
        ModelSpec.model_validate(plain | {key: value for key, value in change.items() if key not in fields})


def test_spec_from_before_there_were_kinds_of_heads_is_an_anchor_head() -> None:
    plain = tiny_spec().model_dump()
    head = plain.pop("head")
    assert head.pop("kind") == "anchor"
    assert ModelSpec.model_validate(plain | head) == tiny_spec()
    without_decoding = {key: value for key, value in head.items() if key != "decoding"}
    assert ModelSpec.model_validate(plain | without_decoding) == tiny_spec()


def test_unknown_kind_of_head_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="head kind 'heatmap' is not known; known: anchor"):
        ModelSpec.model_validate(tiny_spec().model_dump() | {"head": {"kind": "heatmap", "strides": [8, 16, 32]}})


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ((1,), r"layer 1 \(Conv\) reads layer 1, which is not before it: a cycle"),
        ((2,), r"layer 1 \(Conv\) reads layer 2, which is not before it: a cycle"),
        ((-1, 3), r"layer 1 \(Conv\) reads layer 3, which does not exist; use -1 for the one before, or 0 to 0"),
        ((-2,), r"layer 1 \(Conv\) reads layer -2, which does not exist"),
        ((), r"layer 1 \(Conv\) reads nothing"),
    ],
)
def test_layers_may_only_read_earlier_ones(inputs: tuple[int, ...], complaint: str) -> None:
    conv, last = LayerSpec(block="Conv", channels=4), LayerSpec(block="Detect", inputs=(0, 1, 1))
    layers = (conv, conv.model_copy(update={"inputs": inputs}), last)
    with pytest.raises(ValidationError, match=complaint):
        ModelSpec.model_validate(tiny_spec().model_dump() | {"layers": layers})


def test_scales_of_a_decoding_default_to_its_kind() -> None:
    assert BoxDecoding().scales(2) == (2, 2)
    assert BoxDecoding(kind="darknet").scales(3) == (1, 1, 1)
    assert BoxDecoding(kind="darknet", scale_x_y=(1.2, 1.05)).scales(2) == (1.2, 1.05)


@pytest.mark.parametrize(("value", "multiple", "expected"), [(1, 8, 8), (8, 8, 8), (8.01, 8, 16), (0, 8, 0)])
def test_round_up(value: float, multiple: int, expected: int) -> None:
    assert round_up(value, multiple) == expected
