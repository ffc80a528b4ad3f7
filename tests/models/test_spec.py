import pytest
from pydantic import ValidationError

from tests.tiny import tiny_spec
from yoloslim.errors import ModelError
from yoloslim.models.spec import ModelSpec, build_spec, model_names, round_up


def test_all_five_sizes_have_a_name() -> None:
    assert model_names() == ["yolov5n", "yolov5s", "yolov5m", "yolov5l", "yolov5x"]


@pytest.mark.parametrize("name", ["yolov5q", "yolov8n", "", "n", "yolov5"])
def test_unknown_model_lists_those_that_exist(name: str) -> None:
    with pytest.raises(ModelError, match=f"model '{name}' is not known; choose one of yolov5n, .*, yolov5x"):
        build_spec(name, ("a",))


def test_sizes_scale_channels_and_repeats() -> None:
    def of(name: str) -> list[tuple[int | None, int | None]]:
        return [(layer.channels, layer.repeats) for layer in build_spec(name, ("a",)).layers if layer.block == "C3"]

    assert of("yolov5n")[:4] == [(32, 1), (64, 2), (128, 3), (256, 1)]
    assert of("yolov5m")[:4] == [(96, 2), (192, 4), (384, 6), (768, 2)]
    assert of("yolov5x")[:4] == [(160, 4), (320, 8), (640, 12), (1280, 4)]


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
        ({"imgsz": 100}, "imgsz 100 is not a multiple of 32; 128 is the next one"),
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
    with pytest.raises(ValidationError, match=complaint):
        ModelSpec.model_validate(tiny_spec().model_dump() | change)


@pytest.mark.parametrize(("value", "multiple", "expected"), [(1, 8, 8), (8, 8, 8), (8.01, 8, 16), (0, 8, 0)])
def test_round_up(value: float, multiple: int, expected: int) -> None:
    assert round_up(value, multiple) == expected
