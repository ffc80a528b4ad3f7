"""Stage `prune`: what makes up for the cut before it is finetuned."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.tiny import shake_norms, tiny_detector
from yoloslim.config import Params, parse_params
from yoloslim.errors import ConfigError
from yoloslim.models.detector import Detector
from yoloslim.models.store import save_model
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.certified_cut import PruneResult, prune
from yoloslim.stages import prune as stage

IMAGES = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    """A stored model with scales of all sizes; images of a fixed kind instead of the project's."""

    def images(_: Params, count: int) -> Iterator[torch.Tensor]:
        yield IMAGES[:count]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "training_images", images)
    monkeypatch.setattr(stage, "statistics_images", lambda *asked: lambda: images(*asked))
    model = tiny_detector().eval()
    shake_norms(model)
    save_model(model, Path("models/sparse/model.safetensors"))
    return model


def cut_of(dense: Detector) -> PruneResult[Detector]:
    return prune(dense, PruneRequest(percent=30, round_to=1, importance="l2", imgsz=64))


def distance(dense: Detector, model: Detector) -> float:
    """How far the raw heads are from the dense network's, on images that nothing was fitted on."""
    fresh = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return sum(float((a - b).square().mean()) for a, b in zip(dense(fresh), model.eval()(fresh), strict=True))


def test_fitted_layers_come_nearer_to_the_dense_network_than_statistics_do(dense: Detector) -> None:
    result = cut_of(dense)
    statistics = stage.settled(parse_params({"prune": {"recalibrate_images": 12}}), result)
    layers = stage.settled(parse_params({"prune": {"fit_images": 12}}), result)
    assert distance(dense, layers) < 0.5 * distance(dense, statistics)
    assert distance(dense, layers) < 0.5 * distance(dense, result.model)
    assert layers.spec.widths == result.model.spec.widths


def test_fitting_leaves_the_cut_itself_as_it_was(dense: Detector) -> None:
    result = cut_of(dense)
    before = {name: value.clone() for name, value in result.cut.state_dict().items()}
    stage.settled(parse_params({"prune": {"fit_images": 12}}), result)
    assert all(torch.equal(value, before[name]) for name, value in result.cut.state_dict().items())


def test_a_fit_and_rounds_are_refused_together() -> None:
    with pytest.raises(ConfigError, match=r"fit_images=256 makes up for one cut without training, and rounds=3"):
        parse_params({"prune": {"fit_images": 256, "rounds": 3}, "finetune": {"epochs": 14}})


@pytest.mark.parametrize(("percent", "removed", "said"), [(30, 30, False), (95, 80, True), (95, 94, False)])
def test_what_a_cut_came_to_is_said(percent: int, removed: int, said: bool, caplog: pytest.LogCaptureFixture) -> None:
    report = {"effective_percent": removed, "removed_units": []}
    report |= {"before": {"params_m": 3.0, "gflops": 2.0}, "after": {"params_m": 0.5, "gflops": 0.5}}
    with caplog.at_level("INFO"):
        stage.tell(PruneRequest(percent=percent), report)
    first = f"3.00 M -> 0.50 M parameters, 25 % of the FLOPs: {removed}.0 % of the prunable channels are gone"
    assert caplog.messages[0] == first
    reasons = caplog.messages[1:]
    assert len(reasons) == said
    assert all(reason.startswith("that is less than 95 %: channels of equal scores") for reason in reasons)
