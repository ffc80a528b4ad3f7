"""The front door, as a stranger uses it."""

import hashlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import yoloslim
from tests.pace import slowness
from tests.pruning.any_network import OURS, fill
from tests.pruning.foreign_networks import NETWORKS, build
from tests.pruning.networks import Cbl, Residual, scramble
from yoloslim import cli
from yoloslim.config import PruneParams
from yoloslim.deploy.runtimes import Runtime
from yoloslim.errors import DataError, DeployError, ModelError, OutOfReachError, PruneError, TraceError
from yoloslim.models.detector import build_detector, count_params
from yoloslim.models.store import save_model
from yoloslim.prune_request import ChannelSelection, PruneRequest, Scope, Scorer, option
from yoloslim.pruning.certified_cut import prune as prune_network
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

EXAMPLE = Path(__file__).parents[1] / "docs/examples/prune_any_network.py"


def product(_path: str, c_in: int, c_out: int) -> float:
    return c_in * c_out


class Grey(nn.Module):
    """One input channel, a transposed convolution, GroupNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.u, self.g, self.c = nn.ConvTranspose2d(16, 8, 2, 2), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.g(self.u(torch.relu(self.b(self.a(x)))))))


class Mobile(nn.Module):
    """Inverted residual: 1x1, depthwise, 1x1, sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = Cbl(3, 8), nn.Conv2d(8, 3, 1)
        self.unit = nn.Sequential(Cbl(8, 24, 1), Cbl(24, 24, groups=24), Cbl(24, 8, 1, act=nn.Identity()))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.unit(x))


MOBILE = (Mobile, (torch.rand(1, 3, 32, 48),))


@pytest.mark.parametrize("name", [*OURS, "mobile"])
def test_any_network_is_pruned_by_half_and_proved(name: str) -> None:
    make, example = OURS.get(name, MOBILE)
    torch.manual_seed(0)
    network = fill(make())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    result = yoloslim.prune(network, example, percent=50, importance="l2", round_to=1)
    assert max(result.certificate.cut) <= 1e-4
    assert result.report["effective_percent"] == pytest.approx(50, abs=12)
    assert count_params(result.model) == result.report["after"]["params"] < 0.75 * count_params(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert result.model.eval()(*example).shape == network(*example).shape
    others = [torch.rand_like(x) for x in example]
    assert (network(*others) - network(*example)).abs().max() > 0.01  # the certificate compared something


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_nobody_here_wrote(name: str) -> None:
    network, example = build(name)
    fill(network)
    result = yoloslim.prune(network, example, percent=50, importance="l2", round_to=1)
    assert max(result.certificate.cut) <= 1e-4
    assert result.report["effective_percent"] == pytest.approx(50, abs=12)
    assert count_params(result.model) < 0.6 * count_params(network)
    assert result.model.eval()(example)[0].shape == network(example)[0].shape


def test_layer_normalised_channels_of_convnext_go() -> None:
    network, example = build("ConvNext")
    small = yoloslim.prune(fill(network), example, percent=50, importance="l2", round_to=1).model
    stage, before = small.convnext.encoder.stages[3].layers[0], network.convnext.encoder.stages[3].layers[0]
    assert stage.dwconv.out_channels < before.dwconv.out_channels
    assert stage.layernorm.normalized_shape == (stage.dwconv.out_channels,)
    assert len(stage.layer_scale_parameter) == stage.dwconv.out_channels


def test_heads_go_whole_or_all_get_narrower() -> None:
    for name, unit in (("whole heads", 8), ("narrower heads", 4)):
        make, example = OURS[name]
        small = yoloslim.prune(fill(make()), example, percent=70, importance="l2", round_to=1).model
        assert {layer.out_features % unit for layer in (small.q, small.k, small.v)} == {0}
        assert small.q.out_features == small.k.out_features
        assert small.v.out_features == small.out.in_features < 32


def test_groups_of_a_group_norm_stay_divisible() -> None:
    small = yoloslim.prune(fill(OURS["groupnorm"][0]()), OURS["groupnorm"][1], importance="l2", round_to=1).model
    assert small.g.num_groups == 4
    assert small.a.out_channels == small.g.num_channels < 32
    assert small.a.out_channels % 4 == 0
    assert small.each.num_groups == small.each.num_channels < 16


def test_weakest_filters_of_a_transposed_convolution_go() -> None:
    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.head = nn.ConvTranspose2d(3, 4, 2, 2), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.up(x)))

    network = Up()
    with torch.no_grad():
        network.up.weight[:, [0, 2]] *= 1e-3
    small = yoloslim.prune(network, torch.rand(1, 3, 32, 32), importance="l2", round_to=1).cut
    assert torch.equal(small.up.weight, network.up.weight[:, [1, 3]])


def test_a_detector_is_pruned_as_the_library_does_it() -> None:
    torch.manual_seed(0)
    model = build_detector("yolov5n", ("a", "b"), imgsz=64)
    scramble(model)
    ours = yoloslim.prune(model, percent=40, round_to=8).model.state_dict()
    request = PruneRequest(scope="coupled", percent=40, round_to=8, imgsz=64)
    theirs = prune_network(model, request).model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_threads_that_prune_at_once_get_what_one_gets() -> None:
    network, example = fill(OURS["groupnorm"][0]()), OURS["groupnorm"][1]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: yoloslim.prune(network, example, round_to=1, importance="l2"), range(12)))
    expected = found[0].model.state_dict()
    assert all(torch.equal(v, expected[k]) for each in found for k, v in each.model.state_dict().items())


def test_a_detector_is_exported_with_its_manifest(tmp_path: Path) -> None:
    manifest = yoloslim.export(yoloslim.build("yolov5n", ("a", "b"), imgsz=64), str(tmp_path / "onnx"))
    assert manifest.max_abs_diff is not None
    assert manifest.max_abs_diff < 1e-3
    assert all((tmp_path / "onnx" / name).is_file() for name in manifest.files)


CUTS = {  # of the code before there was a front door: what it cut, bit by bit
    "source": "f8dc17b6cb8a0b11",
    "slim": "fd800f2569978d9f",
    "free": "4eea53ec37d881a8",
    "coupled": "d78824d70d58f4be",
}


@pytest.mark.parametrize("scope", CUTS)
def test_detectors_are_cut_as_ever(scope: Scope) -> None:
    model = build_detector("yolov5n", ("a", "b", "c"))
    draw = np.random.default_rng(3)  # PyTorch draws other bits by the kernels of another processor
    for name, value in model.state_dict().items():
        if name.endswith((".weight", ".bias", ".running_mean", ".running_var")):
            value.copy_(torch.from_numpy(draw.random(tuple(value.shape), np.float32)))
    coupling = find_coupling(model)
    request = PruneRequest(scope=scope, percent=50, imgsz=320, round_to=1)
    state = cut(model, coupling, select_channels(model, coupling, request).keep).state_dict()
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode() + str(tuple(value.shape)).encode() + value.contiguous().numpy().tobytes())
    assert digest.hexdigest()[:16] == CUTS[scope]


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    model = yoloslim.build("yolov5n", ("a", "b"), imgsz=64)
    save_model(model, tmp_path / "m.safetensors")
    again = yoloslim.load(str(tmp_path / "m.safetensors")).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "coupeld"}, "scope 'coupeld' is unknown; did you mean 'coupled'"),
        ({"importance": "gama"}, "importance 'gama' is unknown; did you mean 'gamma'"),
        ({"group_score": "men"}, "group_score 'men' is unknown; did you mean 'mean'"),
        ({"percent": 100}, "percent=100 is out of range"),
        ({"precent": 50}, "option of prune 'precent' is unknown; did you mean 'percent'"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, object], message: str) -> None:
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(Grey(), torch.rand(1, 1, 32, 32), **options)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (None, "a Grey needs example_inputs"),
        ((), "example_inputs holds no tensor"),
        (torch.tensor(1.0), r"tensor 0 has shape \(\), which holds no batch"),
        (torch.full((1, 1, 32, 32), float("nan")), "example_inputs holds NaN"),
    ],
)
def test_example_inputs_that_no_network_could_be_proved_on(example: Tensor | None, message: str) -> None:
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(Grey(), example)


def test_an_importance_is_a_function_or_the_name_of_one() -> None:
    def last_ones(path: str, layer: nn.Module) -> Tensor:
        return torch.arange(len(layer.weight) if isinstance(layer, nn.Conv2d) else layer.weight.shape[1]) + 1.0

    network, example = fill(Grey()), torch.rand(1, 1, 32, 32)
    yoloslim.register_importance("last ones", last_ones)
    for importance in (last_ones, "last ones"):
        result = yoloslim.prune(network, example, percent=50, importance=importance, round_to=1)
        kept = result.model.a.out_channels
        assert kept < 16
        assert torch.equal(result.cut.a.weight, network.a.weight[16 - kept :])
    with pytest.raises(PruneError, match="'gamma' is one of yoloslim's own"):
        yoloslim.register_importance("gamma", last_ones)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (lambda path, layer: torch.rand(3), r"layer 'a': importance <lambda> gives shape \(3,\); .* the 16 outputs"),
        (lambda path, layer: torch.full((16,), float("nan")), "layer 'a': importance <lambda> gives nan for output 0"),
        (lambda path, layer: -torch.ones(16), "layer 'a': importance <lambda> gives -1 for output 0"),
        (lambda path, layer: layer.gamma, "layer 'a': importance <lambda> fails: AttributeError: 'Conv2d'"),
        (lambda path, layer: None, "layer 'a': importance <lambda> returns nothing; it must give 16 scores"),
        (lambda path, layer: 1 / 0, "layer 'a': importance <lambda> fails: ZeroDivisionError"),
    ],
)
def test_importances_that_score_nothing(scorer: Scorer, message: str) -> None:
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(Grey(), torch.rand(1, 1, 32, 32), importance=scorer)


@pytest.mark.parametrize("selection", ["percent", "flops"])
def test_layers_that_are_ignored_are_named_where_nothing_is_left_to_prune(selection: ChannelSelection) -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 2, 1))
    with pytest.raises(PruneError, match=r"no prunable channel in this network; .*ignored layers \(0\) keep theirs"):
        yoloslim.prune(network, torch.rand(1, 3, 16, 16), selection=selection, ignored_layers=["0"])


@pytest.mark.parametrize(
    "asked",
    [
        {"selection": "flops", "percent": 30},
        {"selection": "latency", "percent": 30, "measure_ms": count_params, "layer_ms": product},
        {"target_latency_ms": 1, "measure_ms": count_params},
        {"target_speedup": 1.5, "measure_ms": count_params},
        {"target_gflops": 1e-6},
    ],
)
def test_where_multiples_are_wider_than_all_layers_a_target_says_so(asked: dict[str, Any]) -> None:
    with pytest.raises(OutOfReachError, match="and round_to 256, min_channels 1 keep every channel; lower what stands"):
        yoloslim.prune(fill(Grey()), torch.rand(2, 1, 32, 32), round_to=256, **asked)


@pytest.mark.parametrize(
    ("importance", "advice"),
    [("taylor", "give them as scores= to yoloslim.pruning.certified_cut.prune"), ("activation", "give example_inputs")],
)
def test_importances_that_look_at_data_say_what_to_give(importance: str, advice: str) -> None:
    with pytest.raises(PruneError, match=f"importance '{importance}' needs .*{advice}"):
        yoloslim.prune(build_detector("yolov5n", ("cat",), 64), importance=importance)


def test_gamma_where_there_is_no_batchnorm() -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 2, 1))
    with pytest.raises(PruneError, match="'gamma' goes by BatchNorm scales, and this network has none; use 'l2'"):
        yoloslim.prune(network, torch.rand(1, 3, 16, 16), importance="gamma")


def test_ignored_layers_keep_all_channels_and_others_lose_what_was_asked_for() -> None:
    make, example = OURS["one channel"]
    options = {"importance": "l2", "round_to": 1}
    result = yoloslim.prune(make(), example, percent=80, ignored_layers=["a"], layer_percents={"b.conv": 25}, **options)
    widths = [result.model.get_submodule(f"{name}.conv").out_channels for name in "abc"]
    assert widths == [16, 18, pytest.approx(16 * 0.2, abs=1)]
    assert max(result.certificate.cut) <= 1e-4
    only = yoloslim.prune(make(), example, layer_percents={"a": 50, "b": 50, "c": 50}, **options)
    assert [only.model.get_submodule(f"{name}.conv").out_channels for name in "abc"] == [8, 12, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignored_layers": ["stem.con"]}, "ignored_layers: layer 'stem.con' is unknown; did you mean 'stem.conv'"),
        ({"ignored_layers": "stem"}, r"ignored_layers is the text 'stem'; give a list: \['stem'\]"),
        ({"layer_percents": {"a.2": 5}}, "layer_percents: layer 'a.2' is unknown; did you mean 'a."),
        (
            {"layer_percents": {"stem.conv": 30, "a.1.conv": 50}},
            r"'stem.conv' \(30\) and 'a.1.conv' \(50\) share 8 channels",
        ),
        ({"layer_percents": {"head": 30}}, "4 of 4 channels of 'head' must stay: they leave the network"),
        ({"layer_percents": {"stem": 30}, "ignored_layers": ["stem"]}, "8 of 8 channels of 'stem.conv' must stay"),
        ({"layer_percents": {"stem": 130}}, "layer_percents of 'stem'=130 is out of range"),
        ({"round_to": 0}, "round_to=0 is out of range; allowed: at least 1 and at most 256"),
        ({"percent": "half"}, "percent='half' is no number"),
        ({"percent": None}, "percent=None is no number"),
        ({"percent": 0.5}, "percent=0.5 is less than one channel in a hundred; for 50% write 50"),
        ({"layer_percents": [("stem", 30)]}, "is no mapping of paths of layers to percents"),
        ({"ignored_layers": [nn.ReLU()]}, r"ignored_layers=\[ReLU\(\)\] holds what is no path"),
        ({"round_to": 1.5}, "round_to=1.5 is no whole number"),
        ({"fold": "yes"}, "fold='yes' is neither True nor False"),
        ({"importance": 3}, "importance=3 is neither a name nor a function"),
        ({"percent": 50, "target_params_m": 0.01}, "percent and target_params_m are given at once"),
        (
            {"measure_ms": lambda model: 1.0},
            "measure_ms measures for target_latency_ms, target_speedup or selection=.latency., and none is given",
        ),
    ],
)
def test_layers_that_cannot_be_meant(options: dict[str, object], message: str) -> None:
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(Residual(), torch.rand(1, 3, 16, 16), **options)


def test_a_target_of_latency_by_a_callable() -> None:
    make, example = OURS["one channel"]
    result = yoloslim.prune(
        make(), example, target_latency_ms=1.0, measure_ms=lambda m: count_params(m) / 2000, importance="l2", round_to=1
    )
    assert 1500 < count_params(result.model) <= 2000


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda model: float("nan"), "measure_ms gives nan; it must give milliseconds, above 0"),
        (lambda model: -3, "measure_ms gives -3; it must give"),
        (lambda model: None, "measure_ms fails: TypeError"),
        (lambda model: 1 / 0, "measure_ms fails: ZeroDivisionError"),
    ],
)
def test_measurements_that_no_network_could_be_searched_by(measure: Callable[[nn.Module], float], message: str) -> None:
    make, example = OURS["one channel"]
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(make(), example, target_latency_ms=1.0, measure_ms=measure, importance="l2")


@pytest.mark.parametrize("name", [*OURS, "mobile"])
def test_any_network_is_cut_to_a_share_of_its_flops(name: str) -> None:
    make, example = OURS.get(name, MOBILE)
    torch.manual_seed(0)
    result = yoloslim.prune(fill(make()), example, selection="flops", percent=40, importance="l2", round_to=1)
    assert max(result.certificate.cut) <= 1e-4
    assert 0.5 <= result.report["after"]["gflops"] / result.report["before"]["gflops"] <= 0.6
    assert result.report["flops"]["gap"] <= 0.005


def test_widths_within_a_time_by_callables() -> None:
    make, example = OURS["one channel"]
    result = yoloslim.prune(
        make(),
        example,
        selection="latency",
        target_latency_ms=3.0,
        measure_ms=lambda m: count_params(m) / 2000,
        layer_ms=lambda path, c_in, c_out: 9 * c_in * c_out / 2000,
        importance="l2",
        round_to=1,
    )
    assert 0.97 * 6000 <= count_params(result.model) <= 6000
    assert result.report["latency"]["target_ms"] == 3.0


def test_widths_within_a_time_are_those_of_convolutions_of_any_number_of_axes() -> None:
    network = nn.Sequential(nn.Conv1d(2, 64, 5), nn.ReLU(), nn.Conv1d(64, 32, 3), nn.Flatten(), nn.Linear(32 * 94, 3))
    options: dict[str, Any] = {"selection": "latency", "percent": 40, "measure_ms": count_params, "layer_ms": product}
    result = yoloslim.prune(fill(network), torch.rand(2, 2, 100), **options)
    assert 0.5 * count_params(network) <= count_params(result.model) <= 0.6 * count_params(network)
    without = fill(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3)))
    with pytest.raises(PruneError, match="goes by the times of convolutions, and this network has none"):
        yoloslim.prune(without, torch.rand(2, 20), **options)


@pytest.mark.parametrize(
    ("layer_ms", "message"),
    [
        (lambda path, c_in, c_out: None, "layer_ms fails: TypeError"),
        (lambda path, c_in, c_out: {}[path], "layer_ms fails: KeyError"),
        (lambda path, c_in, c_out: float("nan"), "layer_ms gives nan; it must give milliseconds, above 0"),
        (lambda path, c_in, c_out: 0, "layer_ms gives 0; it must give"),
    ],
)
def test_times_of_layers_that_no_widths_could_be_chosen_by(layer_ms: Callable[..., float], message: str) -> None:
    network, images = fill(Grey()), torch.rand(2, 1, 32, 32)
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(network, images, selection="latency", percent=40, measure_ms=count_params, layer_ms=layer_ms)


def test_a_narrow_network_within_flops_is_rounded_to_less() -> None:
    network = fill(Grey())
    images = torch.rand(2, 1, 32, 32)
    free = yoloslim.prune(network, images, selection="flops", percent=70)
    assert free.report["round_to"] < 16
    with pytest.raises(OutOfReachError, match=r"percent=70 of the FLOPs is out of reach: .* round_to"):
        yoloslim.prune(network, images, selection="flops", percent=70, round_to=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "flop"}, "selection 'flop' is unknown; did you mean 'flops'"),
        ({"selection": "latency"}, "selection latency needs layer_ms and measure_ms"),
        ({"selection": "flops", "measure_ms": count_params}, "measure_ms measures for .* or selection='latency'"),
        ({"layer_ms": max}, "layer_ms is for selection='latency', and this one is 'percent'"),
        ({"selection": "flops", "target_params_m": 1}, "target_params_m=1 is another target; flops takes"),
    ],
)
def test_selections_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PruneError, match=message):
        yoloslim.prune(Grey(), torch.rand(1, 1, 32, 32), **options)


def test_a_network_fresh_from_its_class_is_cut_by_its_weights(caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 2, 1))
    images = torch.rand(2, 3, 16, 16)
    fresh = yoloslim.prune(network, images, percent=np.float32(50))
    assert (fresh.report["importance"], fresh.model.get_submodule("0").out_channels) == ("l2", 8)
    nn.init.uniform_(network.get_submodule("1").weight)
    assert yoloslim.prune(network, images, percent=50).report["importance"] == "gamma"
    assert caplog.text == ""


def test_narrow_networks_are_rounded_to_less(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = Grey()  # its weakest eight channels are all that a layer has
    rounded = yoloslim.prune(network, torch.rand(2, 1, 32, 32), percent=50, round_to=8)
    assert (rounded.report["round_to"], rounded.report["effective_percent"]) == (8, 0)
    assert "0.0 % of prunable channels removed" in caplog.text
    free = yoloslim.prune(network, torch.rand(2, 1, 32, 32), percent=50)
    assert free.report["round_to"] < 8
    assert free.report["effective_percent"] > 30


def test_a_layer_s_own_percent_is_rounded_to_less_in_narrow_networks_or_told(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(12, 16, 3)), nn.Conv2d(16, 4, 1))
    options: dict[str, Any] = {"layer_percents": {"0": 75, "2": 50}}
    free = yoloslim.prune(network, torch.rand(2, 3, 16, 16), **options)
    assert [free.model.get_submodule(path).out_channels for path in ("0", "2.0")] == [3, 8]
    assert caplog.text == ""
    rounded = yoloslim.prune(network, torch.rand(2, 3, 16, 16), **options, round_to=8)
    assert [rounded.model.get_submodule(path).out_channels for path in ("0", "2.0")] == [8, 8]
    plain = yoloslim.prune(network, torch.rand(2, 3, 16, 16), layer_percents={"0": 70, "2": 35}, round_to=1)
    assert [plain.model.get_submodule(path).out_channels for path in ("0", "2.0")] == [4, 10]  # of 3.6 and 10.4
    assert len(caplog.messages) == 1
    assert "removed: layer '0' lost 33.3 % of its channels, less than its own percent: every layer keeps" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"importance": "gamma"}, "0.0 % of prunable channels removed: that is less than 50 %: channels of equal scor"),
        ({"min_channels": 12, "round_to": 1}, "25.0 % of prunable channels removed: that is less than 50 %"),
        ({"target_params_m": 5}, "target_params_m=5 is met by the network as it is, and nothing was cut"),
        ({"residual_units": 1}, "that is 0 of 1 residual units"),
    ],
)
def test_what_was_asked_for_and_did_not_go_is_said(
    options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 2, 1))
    yoloslim.prune(network, torch.rand(2, 3, 16, 16), **options)
    assert said in caplog.text


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("yolov5n", PruneError, "model is 'yolov5n'; give a network: yoloslim.load"),
        (Grey, PruneError, r"model is the class Grey; give a network of it: Grey\(...\)"),
        (3, PruneError, "model is a int; give a torch.nn.Module"),
        (nn.ReLU(), PruneError, "no layer of this network has channels that could be scored"),
        (nn.Conv2d(1, 8, 3), PruneError, "no layer of this network has channels that could be scored"),
        (torch.jit.trace(nn.Conv2d(1, 8, 3), torch.rand(1, 1, 32, 32)), TraceError, "torch.jit has compiled it"),
        (torch.compile(nn.Conv2d(1, 8, 3)), TraceError, "torch.compile has compiled it; prune its _orig_mod"),
        (nn.Sequential(spectral_norm(nn.Conv2d(1, 8, 3)), nn.Conv2d(8, 2, 1)), PruneError, "in module '0'"),
    ],
)
def test_models_that_are_no_network_to_prune(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        yoloslim.prune(model, torch.rand(1, 1, 32, 32))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: yoloslim.build("yolov5n", 3), ModelError, "3 is a int; a name and a list are wanted"),
        (lambda: yoloslim.build(None, ["a"]), ModelError, "None is a NoneType; a name and a list are wanted"),
        (lambda: yoloslim.build("yolov5n", "cat"), ModelError, r"classes is the text 'cat'; give a list: \['cat'\]"),
        (lambda: yoloslim.build("yolov5n", ["a", "b", "b"]), ModelError, "classes names 'b' twice"),
        (lambda: yoloslim.export("m.pt", "out"), DeployError, "model is a str; give a detector, such as yoloslim.load"),
        (lambda: yoloslim.load("m.pt"), ModelError, "model file m.pt is missing; check the name"),
    ],
)
def test_models_that_cannot_be_meant(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("register", "error", "message"),
    [
        (lambda: yoloslim.register_importance("", lambda path, layer: layer), PruneError, "importance '' has no name"),
        (lambda: yoloslim.register_op(3, "unary"), PruneError, "operation 3 is neither a function, nor its name"),
        (lambda: yoloslim.register_op(nn.GRU(1, 1), "mix"), PruneError, "operation is a GRU; give its class: GRU"),
        (lambda: yoloslim.register_runtime("x"), DeployError, "takes a yoloslim.deploy.runtimes.Runtime, not a str"),
        (
            lambda: Runtime("x", ("onnx",), print),
            DeployError,
            r"runtime 'x': suffixes .* are none; write",
        ),
        (lambda: Runtime("x", ".onnx", print), DeployError, "suffixes '.onnx' are none"),
        (lambda: yoloslim.register_dataset("x"), DataError, "takes a yoloslim.data.layouts.Reader, not a str"),
    ],
)
def test_what_cannot_be_registered(register: Callable[[], None], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        register()


def test_an_operation_that_is_not_known_shows_how_to_teach_it() -> None:
    class Bessel(Grey):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(torch.special.i0(self.a(x)).mean(1, keepdim=True) + x)

    network = Bessel()
    with pytest.raises(TraceError, match=r"node 'special_i0' .* module '<root>'") as error:
        yoloslim.prune(network, torch.rand(1, 1, 32, 32), importance="l2", round_to=1)
    lines = [line.strip() for line in str(error.value).splitlines() if line.startswith("    ")]
    assert len(lines) == 3
    exec("\n".join(lines), {})  # the advice, as it stands
    result = yoloslim.prune(network, torch.rand(1, 1, 32, 32), importance="l2", round_to=1)
    assert max(result.certificate.cut) <= 1e-4
    with pytest.raises(PruneError, match="kind 'unery' is unknown; did you mean 'unary'"):
        yoloslim.register_op("special_i0", "unery")  # type: ignore[arg-type]


def test_the_section_of_params_and_the_command_say_what_the_request_says() -> None:
    request = PruneRequest()
    stated = {name for name in PruneParams.model_fields if name in PruneRequest.__dataclass_fields__}
    assert len(stated) == 14
    for name in stated:
        field = PruneParams.model_fields[name]
        default = "auto" if name == "importance" else getattr(request, name)  # stage `ranking` tries
        assert (field.default, field.description) == (default, option(name).help)
    signature = inspect.signature(cli.prune)
    for name in set(signature.parameters) & stated:
        auto = name in ("importance", "normalise")  # the command has seen the network and its images
        assert signature.parameters[name].default == ("auto" if auto else getattr(request, name))
    with pytest.raises(ValueError, match="less than or equal to 256"):
        PruneParams(round_to=300)


def test_a_forward_that_depends_on_values_is_named() -> None:
    class Choice(Grey):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else x

    with pytest.raises(TraceError, match="Choice cannot be traced"):
        yoloslim.prune(Choice(), torch.rand(1, 1, 32, 32))


def test_a_module_that_cannot_be_followed_is_taught_as_one_operation() -> None:
    class Router(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1), Router(16, 8, 1), nn.Conv2d(8, 2, 1))
    with pytest.raises(TraceError, match=r"in module '2'.* yoloslim.register_op\(Router, \"mix\"\)"):
        yoloslim.prune(fill(network), torch.rand(1, 3, 8, 8))
    yoloslim.register_op(Router, "mix")
    result = yoloslim.prune(network, torch.rand(1, 3, 8, 8))
    assert [layer.out_channels for layer in result.model] == [8, 16, 8, 2]
    assert "module '2'" in result.report["kept_whole"][0]


def test_the_page_about_pruning_is_true() -> None:
    for text in re.findall(r"```python\n(.*?)```", (EXAMPLE.parents[1] / "pruning.md").read_text(), re.S):
        exec(text, {})


def test_options_of_the_front_door_are_those_of_the_request() -> None:
    from yoloslim.pruning.any_network import PruneOptions

    assert set(PruneOptions.__annotations__) == set(PruneRequest.__dataclass_fields__)


def test_importing_is_quick_and_takes_no_torch() -> None:
    # of the processor: on a busy machine the clock on the wall tells of others
    code = "import sys, time; t = time.process_time(); import yoloslim; "
    code += "print(time.process_time() - t, 'torch' in sys.modules)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() for _ in "123"]
    assert min(float(seconds) for seconds, _ in runs) < 0.1 * slowness()
    assert {torch_there for _, torch_there in runs} == {"False"}


def test_a_name_that_is_not_there_is_an_error_that_lists_what_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'purne'; it offers build, detect, evaluate, .*prune, "):
        _ = yoloslim.purne


def test_the_example_runs_and_is_short() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith('"""')]
    assert len(lines) <= 12
    ran = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=1800)
    assert ran.returncode == 0, ran.stderr
    for page in (EXAMPLE.parents[1] / "api.md", EXAMPLE.parents[2] / "README.md"):
        assert EXAMPLE.read_text() in page.read_text()
    assert "cut equals masked to" in ran.stdout
    assert "M parameters left" in ran.stdout
