"""A budget of FLOPs is met as counted, and more importance is kept than what one threshold leaves of the same."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.tiny import shake_norms, tiny_detector
from torch import nn

from yoloslim.errors import OutOfReachError, PruneError
from yoloslim.models.detector import count_macs
from yoloslim.prune_request import ChannelSelection, PruneRequest
from yoloslim.pruning import certified_cut
from yoloslim.pruning.certified_cut import prune
from yoloslim.pruning.counting import Counter
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.flops_selection import layer_macs
from yoloslim.pruning.importance import channel_scores
from yoloslim.pruning.selection import select_channels

MODEL = tiny_detector()
shake_norms(MODEL)
COUPLING = find_coupling(MODEL)
WHOLE = count_macs(MODEL, 64)


def kept(keep: np.ndarray) -> float:
    """Sum of the scores of what stays."""
    scores = channel_scores(MODEL, COUPLING)
    return float(sum(values[keep[COUPLING.layers[path].outputs]].sum() for path, values in scores.items()))


@pytest.mark.parametrize("asked", [{"percent": 40}, {"target_gflops": 0.6 * 2e-9 * WHOLE}])
def test_no_more_flops_are_left_than_were_asked_for(asked: dict[str, float]) -> None:
    result = prune(MODEL, PruneRequest(**asked, round_to=1, imgsz=64), selection="flops")  # type: ignore[arg-type]
    assert 0 < count_macs(result.model, 64) <= 0.6 * WHOLE
    assert 2e-9 * count_macs(result.cut, 64) == pytest.approx(result.report["after"]["gflops"])
    assert result.report["flops"]["target_gflops"] == pytest.approx(0.6 * 2e-9 * WHOLE)
    assert result.report["flops"]["gap"] <= 0.005
    assert result.report["requested_percent"] == pytest.approx(40, abs=0.001)
    assert max(result.certificate.cut) < 1e-4


def test_more_importance_is_kept_than_by_one_threshold() -> None:
    request = PruneRequest(target_gflops=0.5 * 2e-9 * WHOLE, round_to=1, imgsz=64)
    by_threshold = select_channels(MODEL, COUPLING, request).keep
    by_budget = prune(MODEL, request, selection="flops").selection.keep
    assert kept(by_budget) > kept(by_threshold)


def test_widths_that_were_not_proven_in_time_are_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = PruneRequest(percent=40, round_to=1, imgsz=64)
    found = prune(MODEL, request, selection="flops").selection, {"gap": 0.09}
    assert not caplog.messages
    monkeypatch.setattr(certified_cut, "select_by_flops", lambda *_: found)
    prune(MODEL, request, selection="flops")
    assert [message for message in caplog.messages if "9.0 % less could be lost" in message]


def test_all_stays_where_nothing_is_to_be_saved() -> None:
    assert prune(MODEL, PruneRequest(percent=0, imgsz=64), selection="flops").selection.keep.all()
    assert prune(MODEL, PruneRequest(target_gflops=1e3, imgsz=64), selection="flops").selection.keep.all()


@pytest.mark.parametrize(
    ("asked", "named"),
    [({"percent": 99}, "percent=99 of the FLOPs"), ({"target_gflops": 1e-6}, "target_gflops=1e-06")],
)
def test_a_budget_below_the_minimums_names_the_smallest(asked: dict[str, float], named: str) -> None:
    with pytest.raises(OutOfReachError, match=rf"{named} is out of reach: .* GFLOPs should become .* leave at least "):
        prune(MODEL, PruneRequest(**asked, layer_keep=0.5, round_to=1, imgsz=64), selection="flops")  # type: ignore[arg-type]


@pytest.mark.parametrize("selection", ["flops", "percent"])
@pytest.mark.parametrize("layer_keep", [0.1, 0.2, 0.3, 0.4, 0.5])
def test_the_smallest_that_is_named_can_be_asked_for(selection: ChannelSelection, layer_keep: float) -> None:
    limits = PruneRequest(target_gflops=1e-6, round_to=1, layer_keep=layer_keep, imgsz=64)
    with pytest.raises(OutOfReachError) as error:
        prune(MODEL, limits, selection=selection)
    found = re.search(r"leave at least ([\d.e-]+) GFLOPs; ask for that", str(error.value))
    assert found
    least = float(found[1])
    result = prune(MODEL, replace(limits, target_gflops=least), selection=selection)
    assert 0.999 * least <= result.report["after"]["gflops"] <= least


def test_what_stands_in_the_way_of_a_budget_is_named() -> None:
    request = PruneRequest(percent=99, scope="free", ignored_layers=("model.0",), round_to=1, imgsz=64)
    said = r"ignored layers \(model\.0\), scope 'free' \(coupled leaves less\) leave at least"
    with pytest.raises(OutOfReachError, match=said):
        prune(MODEL, request, selection="flops")


def test_why_there_is_nothing_to_prune_is_said() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Softmax(1))
    with pytest.raises(PruneError, match="finds no prunable channel in this network; what keeps channels whole: "):
        prune(network, PruneRequest(importance="l2"), selection="flops", example=(1, 3, 8, 8))


def test_a_target_of_another_kind_is_refused() -> None:
    with pytest.raises(PruneError, match=r"target_speedup=2 is another target; flops takes target_gflops or a percent"):
        prune(MODEL, PruneRequest(target_speedup=2), selection="flops", measure_ms=lambda _: 1.0)
    with pytest.raises(PruneError, match="selection latency needs layer_ms and measure_ms"):
        prune(MODEL, PruneRequest(percent=20), selection="latency", measure_ms=lambda _: 1.0)


class Mixed(nn.Module):
    """A convolution, one for each channel, and one that reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.na = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.c = nn.Conv2d(8, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(torch.relu(self.na(self.a(x)))))


def test_multiply_adds_of_a_layer_follow_both_its_widths() -> None:
    model = Mixed()
    cost = layer_macs(Counter(model, find_coupling(model, (1, 3, 8, 8)), 8))
    assert cost("a", 3, 4) == 64 * 3 * 4 * 9
    assert cost("b", 4, 4) == 64 * 4 * 9
    assert cost("c", 4, 5) == 64 * 4 * 5
