import pytest
import torch
from torch import nn

from tests.deploy.models import tiny_detector
from yoloslim.deploy.latency import latency_ms, layer_latencies_ms
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


def test_the_latency_of_a_model_is_positive_on_both_runtimes():
    model = tiny_detector()
    assert latency_ms(model, "pytorch", 1, repeats=2) > 0
    assert latency_ms(model, "onnxruntime", 1, repeats=2) > 0


def test_dear_layers_lose_more_channels_when_their_cost_counts():
    model = tiny_detector()
    dear = dict.fromkeys((p for p, m in model.named_modules() if isinstance(m, nn.Conv2d)), 1.0) | {"model.1.conv": 1e4}
    plain = prune(model, PruneRequest(scope="free", percent=40, round_to=1)).report
    by_cost = prune(model, PruneRequest(scope="free", percent=40, cost_power=1, round_to=1), layer_costs=dear).report

    def kept(report):
        return next(layer["kept"] for layer in report["layers"] if layer["path"] == "model.1.conv")

    assert kept(by_cost) < kept(plain)
