"""The whole call on real detectors: every scope, round trips, ONNX."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tests.pruning.networks import randomise
from tests.tiny import tiny_spec
from torch import nn

from yoloslim.errors import ModelError, PruneError
from yoloslim.models.detector import Detector, build_detector, count_macs, count_params
from yoloslim.models.spec import LayerSpec
from yoloslim.models.store import load_model, save_model
from yoloslim.prune_request import PruneRequest, Scope
from yoloslim.pruning.certified_cut import PruneResult, prune
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.masking import mask
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut
from yoloslim.pruning.units import remove_units

SCOPES: tuple[Scope, ...] = ("source", "slim", "free", "coupled")
CLASSES = ("ant", "bee", "cat")


def detector(name: str = "yolov5n") -> Detector:
    model = build_detector(name, CLASSES)
    randomise(model)
    return model.float()


@functools.cache
def pruned(scope: Scope) -> tuple[Detector, PruneResult[Detector]]:
    """A detector and what pruning it by half gives; tests only read them."""
    model = detector()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = prune(model, PruneRequest(scope=scope, percent=50, imgsz=256, round_to=1), torch.rand(1, 3, 64, 96))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return model, result


def heads_differ(a: nn.Module, b: nn.Module, size: int = 64) -> float:
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return max(float((p - q).abs().max()) for p, q in zip(a(x), b(x), strict=True))


@pytest.mark.parametrize("scope", SCOPES)
def test_cut_detectors_equal_masked_ones_in_single_precision(scope: Scope) -> None:
    model, result = pruned(scope)
    masked = mask(model, find_coupling(model), result.selection.keep)
    assert heads_differ(masked, result.cut, 96) < 1e-4
    assert heads_differ(model, result.cut, 96) > 0.1


@pytest.mark.parametrize("scope", SCOPES)
def test_prune_certifies_and_reports(scope: Scope) -> None:
    _, result = pruned(scope)
    report = json.loads(json.dumps(result.report, allow_nan=False))
    assert report["after"]["params"] == count_params(result.model)
    assert report["after"]["gflops"] == pytest.approx(2e-9 * count_macs(result.model, 256))
    assert report["after"]["gflops"] < report["after"]["gflops_padded"] < report["before"]["gflops_padded"]
    assert sum(layer["params"] for layer in report["layers"]) == report["after"]["params"]
    assert report["certificate"]["max_cut"] < 1e-9
    assert report["certificate"]["max_folded"] < 1e-9
    assert report["effective_percent"] == pytest.approx(45 if scope == "slim" else 50, abs=4)


def test_bias_that_folding_gave_a_bare_convolution_is_stored(tmp_path: Path) -> None:
    layers = list(tiny_spec().layers)
    layers[4] = LayerSpec(block="Dense", channels=8)  # a convolution with neither BatchNorm nor bias
    layers[5] = layers[5].model_copy(update={"stride": 4})
    model = Detector(tiny_spec().model_copy(update={"layers": tuple(layers)}))
    randomise(model)
    result = prune(model.float(), PruneRequest(scope="coupled", percent=50, round_to=1))
    assert result.model.spec.biased == ("model.4.dense_conv",)
    assert result.cut.spec.biased == ()
    save_model(result.model, tmp_path / "m.safetensors")
    assert heads_differ(load_model(tmp_path / "m.safetensors"), result.model) == 0


@pytest.mark.parametrize(("path", "complaint"), [("model.9.x", "has no such module"), ("model.0.bn", "a BatchNorm2d")])
def test_bias_for_what_is_no_convolution_is_refused(path: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=f"cannot give '{path}' a bias: .*{complaint}"):
        Detector(tiny_spec().model_copy(update={"biased": (path,)}))


def test_folding_is_nearer_to_the_original_than_cutting_alone() -> None:
    model = detector()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight[::2], 1e-3)  # half of the channels hardly vary
    result = prune(model, PruneRequest(scope="coupled", percent=50, round_to=1))
    assert heads_differ(model, result.model, 128) < 0.7 * heads_differ(model, result.cut, 128)


LOADER = """
import sys, torch
from pathlib import Path
from yoloslim.models.store import load_model
model = load_model(Path(sys.argv[1]))
x = torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64)
with torch.no_grad():
    torch.save([y.clone() for y in model(x)], sys.argv[2])
"""


@pytest.mark.parametrize("scope", SCOPES)
def test_pruned_detectors_survive_the_store(scope: Scope, tmp_path: Path) -> None:
    model, _ = remove_units(pruned(scope)[1].model, 1)
    save_model(model, tmp_path / "m.safetensors")
    assert heads_differ(model, load_model(tmp_path / "m.safetensors")) == 0


def test_a_pruned_file_loads_in_a_fresh_process(tmp_path: Path) -> None:
    model = pruned("coupled")[1].model
    save_model(model, tmp_path / "m.safetensors")
    argv = [sys.executable, "-c", LOADER, str(tmp_path / "m.safetensors"), str(tmp_path / "y.pt")]
    subprocess.run(argv, check=True, timeout=1800)
    x = torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.no_grad():
        for p, q in zip(model(x), torch.load(tmp_path / "y.pt", weights_only=True), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scope", SCOPES)
def test_pruning_a_pruned_model_works_again(scope: Scope) -> None:
    once = pruned(scope)[1].model
    coupling = find_coupling(once)
    keep = select_channels(once, coupling, PruneRequest(scope=scope, percent=40, round_to=1)).keep
    twice = cut(once, coupling, keep)
    assert count_params(twice) < count_params(once)
    assert heads_differ(mask(once, coupling, keep), twice) < 1e-4
    assert Detector(twice.spec).load_state_dict(twice.state_dict())


def test_one_channel_everywhere_still_runs_in_torch_and_onnx(tmp_path: Path) -> None:
    dense = detector()
    coupling = find_coupling(dense)
    model = cut(
        dense, coupling, select_channels(dense, coupling, PruneRequest(scope="coupled", percent=99.99, round_to=1)).keep
    )
    norms = [m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert set(norms) == {1}
    x = torch.rand(1, 3, 64, 64)
    path = tmp_path / "one.onnx"
    torch.onnx.export(model, (x,), str(path), dynamo=False, opset_version=11)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        for p, q in zip(model(x), session.run(None, {session.get_inputs()[0].name: x.numpy()}), strict=True):
            np.testing.assert_allclose(p.numpy(), q, atol=1e-3)


def test_a_scale_that_is_nan_stops_before_anything_is_cut() -> None:
    model = detector()
    nn.init.constant_(model.get_submodule("model.3.bn").weight, float("nan"))  # type: ignore[arg-type]
    with pytest.raises(PruneError, match=r"layer 'model\.3\.bn': 64 of 64 gamma scores are NaN"):
        prune(model, PruneRequest(percent=50, scope="source", round_to=1))


def test_a_latency_target_measures_the_cut_network() -> None:
    model = detector()
    result = prune(
        model,
        PruneRequest(scope="coupled", target_latency_ms=1.0, round_to=1),
        measure_ms=lambda network: count_params(network) / 1e6,
    )
    assert 0.95 < count_params(result.model) / 1e6 <= 1.0
