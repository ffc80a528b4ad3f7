import pytest

from yoloslim.errors import ModelError
from yoloslim.pruning.catalogue import model_facts


@pytest.mark.parametrize(
    ("name", "gflops", "convolutions", "units"),
    [("yolov5n", 4.5, 60, 7), ("yolov3", 155.9, 75, 23), ("yolov4", 142.3, 110, 23), ("yolov3-tiny", 13.2, 13, 0)],
)
def test_figures_are_those_of_the_public_models(name: str, gflops: float, convolutions: int, units: int) -> None:
    found = model_facts(name)
    assert found.gflops == pytest.approx(gflops, abs=0.06)
    assert (found.convolutions, found.units) == (convolutions, units)
    assert 0.5 < found.prunable <= 1


def test_unknown_model_is_refused_as_everywhere() -> None:
    with pytest.raises(ModelError, match="did you mean yolov4-tiny"):
        model_facts("yolo4-tiny")
