"""What the stage `baseline` starts from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.tiny import tiny_train_set
from yoloslim.config import Params, parse_params
from yoloslim.errors import ConfigError, WeightsError
from yoloslim.files import read_json
from yoloslim.heads.anchor_fit import possible_recall
from yoloslim.models.detector import build_detector
from yoloslim.models.store import load_model
from yoloslim.stages import baseline

PARAMS: dict[str, Any] = {"imgsz": 64, "model": "yolov4-tiny", "train": {"auto_anchor": False}}


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "prepared_split", lambda *_: SimpleNamespace(classes=("cat", "dog")))
    monkeypatch.setattr(baseline, "train_set", lambda *_: tiny_train_set())


def params(**more: Any) -> Params:
    return parse_params(PARAMS | more)


def test_without_weights_it_starts_from_scratch() -> None:
    model = baseline.start_model(params(), None)
    assert (model.spec.name, model.spec.classes, model.spec.imgsz) == ("yolov4-tiny", ("cat", "dog"), 64)


def test_anchors_of_a_fresh_model_are_fitted_to_the_boxes() -> None:
    fresh = baseline.start_model(params(train={"auto_anchor": True}), None).spec
    assert fresh.head.anchors[0][0] != (23, 27)  # made for 640 px: not one of the boxes at 64 px is as large as most
    recall = possible_recall(tiny_train_set().box_sizes(), torch.tensor(fresh.head.anchors).view(-1, 2), 4.0)
    assert recall > 0.98


def test_weights_of_other_classes_and_size_keep_all_but_the_head(tmp_path: Path) -> None:
    public = build_detector("yolov4-tiny", tuple(f"thing{i}" for i in range(5)), 640)
    torch.save(public.state_dict(), tmp_path / "m.pt")
    model = baseline.start_model(params(), tmp_path / "m.pt")
    assert (model.spec.classes, model.spec.imgsz) == (("cat", "dog"), 64)
    state = model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in public.state_dict().items() if not k.startswith("model.33"))
    again = baseline.start_model(params(), tmp_path / "m.pt").state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save(build_detector("yolov3-tiny", ("a", "b")).state_dict(), tmp_path / "m.pt")
    with pytest.raises(WeightsError, match="it is no yolov4-tiny"):
        baseline.start_model(params(), tmp_path / "m.pt")


def test_anchors_of_weights_stay_unless_boxes_do_not_match_them(tmp_path: Path) -> None:
    torch.save(build_detector("yolov4-tiny", ("a", "b"), 640).state_dict(), tmp_path / "m.pt")
    fixed = baseline.start_model(params(), tmp_path / "m.pt").spec
    suited = baseline.start_model(params(train={"auto_anchor": True}), tmp_path / "m.pt").spec
    fitted = baseline.start_model(params(train={"auto_anchor": True, "anchor_t": 1.1}), tmp_path / "m.pt").spec
    strict = {"auto_anchor": True, "anchor_t": 1.1}
    torch.save(build_detector("yolov4-tiny", ("cat", "dog"), 640).state_dict(), tmp_path / "known.pt")
    untrained = params(train=strict, baseline={"weights": "known.pt", "epochs": 0})
    assert baseline.start_model(untrained, tmp_path / "known.pt").spec.head.anchors == fixed.head.anchors
    assert fixed.head.anchors[0][0] == (23, 27)
    assert suited.head.anchors == fixed.head.anchors
    assert fitted.head.anchors != fixed.head.anchors


def test_with_epochs_0_the_baseline_is_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = build_detector("yolov4-tiny", ("dog", "bird", "cat"), 64)
    (tmp_path / "m.pt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(baseline, "eval_set", lambda *_: None)
    monkeypatch.setattr(baseline, "validation_row", lambda *_: {"map50": 0.437})
    monkeypatch.setattr(baseline, "import_model", lambda *_: public)
    baseline.run(params(baseline={"weights": "m.pt", "epochs": 0}))
    kept, state = load_model(tmp_path / "models/baseline/model.safetensors"), public.state_dict()
    assert kept.spec.classes == ("cat", "dog")
    own = kept.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items() if own[name].shape == value.shape)
    history = read_json(tmp_path / "models/baseline/history.json")
    assert history == {"kept_epoch": 0, "start": {"map50": 0.437}, "epochs": []}
    assert (tmp_path / "plots/baseline/epochs.csv").read_text() == "epoch\n"


def test_untrained_weights_know_every_class_and_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "import_model", lambda *_: build_detector("yolov4-tiny", ("bird", "Cat"), 64))
    with pytest.raises(WeightsError, match=r"m\.pt does not know 1 of the 2 classes of the data: dog; train"):
        baseline.start_model(params(baseline={"weights": "m.pt", "epochs": 0}), Path("m.pt"))
    with pytest.raises(ConfigError, match="epochs=0 takes weights as they are, and there are none"):
        params(baseline={"epochs": 0})
