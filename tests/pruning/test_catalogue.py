from pathlib import Path

import pytest
import torch

from yoloslim.errors import ModelError
from yoloslim.models.detector import build_detector, count_macs
from yoloslim.pruning import catalogue
from yoloslim.pruning.catalogue import all_facts, model_facts
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import candidate_groups


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


@pytest.mark.parametrize("name", ["yolov5n6", "yolo26n", "yolov4-tiny", "v5Lite-s"])
def test_shapes_alone_give_what_pytorch_gives(name: str) -> None:
    with torch.device("meta"):
        model = build_detector(name, ("a", "b"), 640)
    coupling = find_coupling(model)
    channels = [group for path in coupling.batchnorms for group in coupling.layers[path].outputs]
    found = model_facts(name, 2)
    assert found.gflops == 2e-9 * count_macs(model, 640)
    assert found.prunable == candidate_groups(coupling, "free")[channels].mean()


def test_facts_are_kept_until_the_code_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(catalogue, "model_names", lambda: ["yolov3-tiny", "yolov5n"])
    looked_at: list[str] = []

    def show(names: list[str]) -> list[str]:
        looked_at.extend(names)
        return names

    first = all_facts(2, show)
    assert [each.name for each in first] == ["yolov3-tiny", "yolov5n"]
    assert all_facts(2, show) == first
    assert looked_at == ["yolov3-tiny", "yolov5n"]
    monkeypatch.setattr(catalogue, "_code_key", lambda: "other")
    assert all_facts(2, show) == first
    [file] = (tmp_path / "yoloslim/models").glob("other-*")
    file.write_text('[{"name": 1}]')
    assert all_facts(2, show) == first
    assert len(looked_at) == 6
