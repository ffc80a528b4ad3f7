from importlib.metadata import PackageNotFoundError

import pytest
import torch
from torch import nn

from tests.deploy.models import tiny_detector
from yoloslim.deploy import layer_calls
from yoloslim.deploy.latency import Clock, layer_latencies_ms
from yoloslim.errors import DeployError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.certified_cut import prune


@pytest.mark.parametrize("runtime", ["pytorch", "onnxruntime"])
def test_every_convolution_is_timed_and_a_big_one_takes_longer(runtime):
    model = tiny_detector(imgsz=128)
    model.eval()
    before = torch.get_num_threads()
    times = layer_latencies_ms(model, runtime, threads=1, repeats=5)
    assert set(times) == {path for path, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    assert all(0 < ms < 1000 for ms in times.values())
    assert times["model.0.conv"] > times["model.24.m.2"]  # 6x6 on the whole image against 1x1 on 4 x 4 cells
    assert torch.get_num_threads() == before
    assert not model.training


@pytest.mark.parametrize("runtime", ["pytorch", "onnxruntime", "openvino"])
def test_a_network_is_timed_in_turn_with_the_dense_one(runtime):
    model = tiny_detector()
    clock = Clock(model, runtime, 1, repeats=5)
    assert clock.machine["runtime"] == runtime
    assert clock(model) == pytest.approx(clock.dense_ms, rel=0.7)  # the same network, on a machine that does others


def test_a_runtime_that_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(layer_calls, "version", missing)
    with pytest.raises(DeployError, match=r"ncnn is not installed; pip install 'yoloslim\[runtimes\]'"):
        Clock(tiny_detector(), "ncnn", 1)


def test_dear_layers_lose_more_channels_when_their_cost_counts():
    model = tiny_detector()
    dear = dict.fromkeys((p for p, m in model.named_modules() if isinstance(m, nn.Conv2d)), 1.0) | {"model.1.conv": 1e4}
    plain = prune(model, PruneRequest(scope="free", percent=40, round_to=1)).report
    by_cost = prune(model, PruneRequest(scope="free", percent=40, cost_power=1, round_to=1), layer_costs=dear).report

    def kept(report):
        return next(layer["kept"] for layer in report["layers"] if layer["path"] == "model.1.conv")

    assert kept(by_cost) < kept(plain)
