import functools
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.pace import slowness
from tests.pruning.networks import NETWORKS, randomise
from tests.pruning.random_network import RandomNetwork
from tests.pruning.recipe import COUNTS_AT_50, seed_batchnorms
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector, build_detector, count_macs, count_params
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.counting import Counter
from yoloslim.pruning.coupling import Coupling, find_coupling
from yoloslim.pruning.masking import mask
from yoloslim.pruning.selection import Selection, candidate_groups, select_channels
from yoloslim.pruning.surgery import cut

SCOPES = ("source", "slim", "free", "coupled")
EXAMPLE = (2, 3, 16, 16)


@functools.cache
def peer_model() -> tuple[Detector, Coupling]:
    model = build_detector("yolov5s", tuple(str(i) for i in range(20))).eval()
    seed_batchnorms(model)
    return model, find_coupling(model)


def widths(coupling: Coupling, selection: Selection) -> dict[str, int]:
    return {path: int(selection.keep[coupling.layers[path].outputs].sum()) for path in coupling.batchnorms}


@pytest.mark.parametrize(
    ("percent", "params", "threshold"), [(30, 4_173_689, 0.1849), (50, 2_804_175, 0.3317), (60, 2_283_175, 0.4139)]
)
def test_source_scope_gives_the_peers_parameter_counts(percent: int, params: int, threshold: float) -> None:
    model, coupling = peer_model()
    selection = select_channels(model, coupling, PruneRequest(scope="source", percent=percent, round_to=1))
    assert count_params(cut(model, coupling, selection.keep)) == params
    assert selection.threshold == pytest.approx(threshold, abs=5e-5)
    assert selection.clipped == {}


def test_source_scope_gives_the_peers_channel_counts() -> None:
    model, coupling = peer_model()
    selection = select_channels(model, coupling, PruneRequest(scope="source", percent=50, round_to=1))
    assert widths(coupling, selection) == COUNTS_AT_50
    assert sum(COUNTS_AT_50.values()) == 5792


def test_tracing_selecting_and_cutting_yolov5s_takes_under_a_second() -> None:
    model, _ = peer_model()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        coupling = find_coupling(model)
        cut(
            model,
            coupling,
            select_channels(model, coupling, PruneRequest(percent=50, scope="source", round_to=1)).keep,
            fold=True,
        )
        seconds.append(time.process_time() - start)
    assert min(seconds) < slowness()


@pytest.mark.parametrize("percent", [-5, -0.001, 100, 140, float("nan"), float("inf")])
def test_percent_outside_its_range_is_refused(percent: float) -> None:
    with pytest.raises(PruneError, match=r"percent=.* is out of range; allowed: at least 0 and below 100"):
        PruneRequest(percent=percent, scope="source", round_to=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer_keep": 1.5}, "layer_keep=1.5"),
        ({"min_channels": 0}, "min_channels=0"),
        ({"round_to": 0}, "round_to=0"),
        ({"target_params_m": -1}, "target_params_m=-1"),
        ({"target_params_m": 1, "target_gflops": 1}, "target_params_m and target_gflops are set at once"),
    ],
)
def test_other_values_out_of_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(PruneError, match=message):
        PruneRequest(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", SCOPES)
def test_percent_zero_keeps_everything(scope: str) -> None:
    model, coupling = peer_model()
    selection = select_channels(model, coupling, PruneRequest(scope=scope, percent=0, round_to=16))  # type: ignore[arg-type]
    assert selection.keep.all()
    assert selection.effective_percent == 0


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("percent", [95, 99.9])
def test_percents_near_100_clip_and_say_so(scope: str, percent: float) -> None:
    model, coupling = peer_model()
    request = PruneRequest(scope=scope, percent=percent, min_channels=8, round_to=1)  # type: ignore[arg-type]
    selection = select_channels(model, coupling, request)
    assert min(widths(coupling, selection).values()) == 8
    assert selection.effective_percent < percent
    assert selection.clipped
    assert all(given_back > 0 for given_back in selection.clipped.values())


def test_layer_keep_is_a_floor_in_every_layer() -> None:
    model, coupling = peer_model()
    selection = select_channels(model, coupling, PruneRequest(scope="slim", percent=90, layer_keep=0.25, round_to=1))
    for path, kept in widths(coupling, selection).items():
        assert kept >= len(coupling.layers[path].outputs) // 4


@pytest.mark.parametrize("scope", SCOPES)
def test_widths_are_multiples_of_round_to(scope: str) -> None:
    model, coupling = peer_model()
    request = PruneRequest(scope=scope, percent=50, round_to=16)  # type: ignore[arg-type]
    selection = select_channels(model, coupling, request)
    assert all(kept % 16 == 0 for kept in widths(coupling, selection).values())
    assert abs(selection.effective_percent - (45 if scope == "slim" else 50)) < 1.5


def test_rounding_respects_tied_channels() -> None:
    model = randomise(NETWORKS["Shuffle"]())
    coupling = find_coupling(model, EXAMPLE)
    keep = select_channels(model, coupling, PruneRequest(scope="coupled", percent=40, round_to=2)).keep
    for path in coupling.batchnorms:
        assert keep[coupling.layers[path].outputs].sum() % 2 == 0
    torch.testing.assert_close(
        cut(model, coupling, keep)(torch.ones(EXAMPLE).double()),
        mask(model, coupling, keep)(torch.ones(EXAMPLE).double()),
    )


def small_pair() -> tuple[nn.Module, Coupling]:
    model = randomise(NETWORKS["Residual"]())
    return model, find_coupling(model, EXAMPLE)


def set_gammas(model: nn.Module, **values: list[float]) -> None:
    with torch.no_grad():
        for path, gammas in values.items():
            model.get_submodule(path.replace("__", ".")).weight.copy_(torch.tensor(gammas))  # type: ignore[operator]


def hand_made() -> tuple[nn.Module, Coupling]:
    """The stem and both branch ends share 8 groups; a.0 has 6 private channels and b.0 has 5."""
    model, coupling = small_pair()
    set_gammas(
        model,
        stem__bn=[9, 9, 9, 9, 9, 9, 0.1, 0.2],
        a__1__bn=[0.1, 9, 9, 9, 9, 9, 0.1, 0.2],
        b__1__bn=[0.1, 9, 9, 9, 9, 9, 9, 0.2],
        a__0__bn=[0.3, 0.4, 5, 5, 5, 5],
        b__0__bn=[0.5, 5, 5, 5, 5],
    )
    return model, coupling


def kept_of(coupling: Coupling, selection: Selection, path: str) -> list[int]:
    return np.flatnonzero(selection.keep[coupling.layers[path].outputs]).tolist()


def test_slim_keeps_a_tied_channel_if_any_member_wants_it() -> None:
    model, coupling = hand_made()  # 35 scales; the threshold is entry 7, which is 0.3: strictly above it stays
    selection = select_channels(model, coupling, PruneRequest(scope="slim", percent=20.1, round_to=1))
    assert selection.threshold == pytest.approx(0.3, abs=1e-6)
    assert kept_of(coupling, selection, "stem.bn") == [0, 1, 2, 3, 4, 5, 6]
    assert kept_of(coupling, selection, "a.0.bn") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("score", "expected"), [("mean", [1, 2, 3, 4, 5]), ("max", [0, 1, 2, 3, 4, 5, 6]), ("sum", [0, 1, 2, 3, 4, 5, 6])]
)
def test_coupled_scores_groups_by_all_members(score: str, expected: list[int]) -> None:
    model, coupling = hand_made()
    request = PruneRequest(scope="coupled", percent=35, group_score=score, round_to=1)  # type: ignore[arg-type]
    assert kept_of(coupling, select_channels(model, coupling, request), "stem.bn") == expected


def test_free_leaves_tied_channels_alone() -> None:
    model, coupling = hand_made()
    selection = select_channels(
        model, coupling, PruneRequest(scope="free", percent=28, round_to=1)
    )  # 11 scales: three go
    assert kept_of(coupling, selection, "stem.bn") == list(range(8))
    assert kept_of(coupling, selection, "a.0.bn") == [2, 3, 4, 5]
    assert kept_of(coupling, selection, "b.0.bn") == [1, 2, 3, 4]


def test_source_finds_nothing_where_everything_is_residual() -> None:
    model, coupling = small_pair()
    with pytest.raises(PruneError, match="scope 'source' finds no prunable channel"):
        select_channels(model, coupling, PruneRequest(scope="source", round_to=1))


@pytest.mark.parametrize("scope", ["source", "coupled"])
def test_of_exact_zeros_only_as_many_go_as_were_asked_for(scope: str) -> None:
    model = randomise(NETWORKS["FocusSpp"]())
    coupling = find_coupling(model, EXAMPLE)
    for path in coupling.batchnorms:
        with torch.no_grad():
            model.get_submodule(path).weight[torch.arange(len(coupling.layers[path].outputs)) % 4 < 3] = 0  # type: ignore[index]
    request = PruneRequest(scope=scope, percent=50, round_to=1)  # type: ignore[arg-type]
    selection = select_channels(model, coupling, request)
    assert selection.effective_percent == pytest.approx(50, abs=3)


def test_gammas_that_are_nan_are_an_error_that_names_the_layer() -> None:
    model, coupling = small_pair()
    set_gammas(model, a__0__bn=[1, 1, float("nan"), 1, 1, 1])
    with pytest.raises(PruneError, match=r"layer 'a.0.bn': 1 of 6 gamma scores are NaN or infinite"):
        select_channels(model, coupling, PruneRequest(scope="coupled", round_to=1))


@pytest.mark.parametrize("scope", SCOPES)
def test_targets_are_met_from_below_and_closely(scope: str) -> None:
    model, coupling = peer_model()
    counter = Counter(model, coupling, 320)
    by_params = PruneRequest(scope=scope, target_params_m=3.5, round_to=1)  # type: ignore[arg-type]
    params = counter.params(select_channels(model, coupling, by_params).keep)
    assert 3.45e6 < params <= 3.5e6
    by_flops = PruneRequest(scope=scope, target_gflops=2.4, imgsz=320, round_to=1)  # type: ignore[arg-type]
    small = cut(model, coupling, select_channels(model, coupling, by_flops).keep)
    assert 2.35 < 2e-9 * count_macs(small, 320) <= 2.4


def test_a_latency_target_is_searched_with_the_given_measure() -> None:
    model, coupling = peer_model()
    calls = []

    def measure(keep: np.ndarray) -> float:
        calls.append(keep)
        return float(keep.mean() * 10)

    selection = select_channels(
        model, coupling, PruneRequest(scope="coupled", target_latency_ms=5, round_to=1), measure=measure
    )
    assert 4.8 < selection.keep.mean() * 10 <= 5
    assert len(calls) <= 9
    with pytest.raises(PruneError, match="needs a measuring function"):
        select_channels(model, coupling, PruneRequest(target_latency_ms=5, scope="source", round_to=1))


def test_a_speedup_is_of_what_the_whole_network_takes() -> None:
    model, coupling = peer_model()

    def measure(keep: np.ndarray) -> float:
        return float(2 + 8 * keep.mean())  # a part that no cut saves

    request = PruneRequest(scope="coupled", target_speedup=1.25, round_to=1)
    assert 7.8 < measure(select_channels(model, coupling, request, measure=measure).keep) <= 8
    far = PruneRequest(scope="coupled", target_speedup=20, round_to=1)
    least = r"2\.\d+ ms \([34]\.\d+ times as fast\); ask for that"
    said = rf"target_speedup=20 is out of reach: 10 ms should become 0\.5, and .* leave at least {least}"
    with pytest.raises(PruneError, match=said):
        select_channels(model, coupling, far, measure=measure)
    with pytest.raises(PruneError, match="target_speedup needs a measuring function"):
        select_channels(model, coupling, request)


def test_a_speedup_is_of_one_measurement_of_the_whole_network() -> None:
    model, coupling = peer_model()
    of_the_whole = iter([10.0, 12.0])  # as beside other programs

    def measure(keep: np.ndarray) -> float:
        return next(of_the_whole) if keep.all() else float(2 + 8 * keep.mean())

    request = PruneRequest(scope="coupled", target_speedup=20, round_to=1)
    with pytest.raises(PruneError, match=r"10 ms should become 0\.5, and .* \([34]\.\d+ times as fast\)"):
        select_channels(model, coupling, request, measure=measure)
    assert next(of_the_whole) == 12


def test_a_target_out_of_reach_names_what_can_be_reached() -> None:
    model, coupling = peer_model()
    said = r"target_params_m=0.1 is out of reach.*scope 'source' \(coupled leaves less\) leave at least 1\.\d+ M param"
    with pytest.raises(PruneError, match=said):
        select_channels(model, coupling, PruneRequest(scope="source", target_params_m=0.1, round_to=1))


def test_what_stands_in_the_way_of_a_target_is_named_and_nothing_else() -> None:
    model, coupling = peer_model()
    request = PruneRequest(target_gflops=0.01, imgsz=320, round_to=8, layer_keep=0.5, ignored_layers=("model.0",))
    with pytest.raises(PruneError) as error:
        select_channels(model, coupling, request)
    assert "round_to 8, min_channels 1, layer_keep 0.5, ignored layers (model.0) leave at least" in str(error.value)
    assert "GFLOPs; ask for that" in str(error.value)
    assert "scope" not in str(error.value)


def test_cost_power_prefers_channels_that_cost_more() -> None:
    model, coupling = peer_model()
    counter = Counter(model, coupling, 640)
    plain, aware = (
        select_channels(model, coupling, PruneRequest(scope="coupled", percent=30, cost_power=power, round_to=1)).keep
        for power in (0.0, 0.5)
    )
    assert counter.macs(aware) < 0.9 * counter.macs(plain)


def test_counts_before_and_after_match_the_networks() -> None:
    model, coupling = peer_model()
    counter = Counter(model, coupling, 256)
    keep = select_channels(model, coupling, PruneRequest(scope="coupled", percent=50, round_to=1)).keep
    small = cut(model, coupling, keep)
    assert (counter.params(keep), counter.macs(keep)) == (count_params(small), count_macs(small, 256))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["slim", "free", "coupled"]),
    st.floats(0, 99.99),
    st.integers(1, 4),
    st.sampled_from([1, 2, 4]),
)
def test_every_selection_of_a_random_network_can_be_cut(
    seed: int, scope: str, percent: float, least: int, multiple: int
) -> None:
    model = randomise(RandomNetwork(seed, 8), seed)
    coupling = find_coupling(model, EXAMPLE)
    assume(candidate_groups(coupling, scope).any())  # type: ignore[arg-type]
    request = PruneRequest(scope=scope, percent=percent, min_channels=least, round_to=multiple)  # type: ignore[arg-type]
    selection = select_channels(model, coupling, request)
    small = cut(model, coupling, selection.keep, fold=True)
    assert small(torch.zeros(EXAMPLE).double())[0].shape == (2, 4, 16, 16)
    assert 0 <= selection.effective_percent <= 100


@pytest.mark.parametrize(("limits", "least"), [({"min_channels": 20}, 20), ({"layer_keep": 0.3}, 19)])
def test_rounding_leaves_no_layer_less_than_its_minimum(limits: dict[str, Any], least: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 1), nn.Conv2d(64, 24, 1), nn.Conv2d(24, 4, 1))
    coupling = find_coupling(model, (1, 3, 8, 8))
    request = PruneRequest(percent=90, importance="l2", round_to=16, **limits)
    keep = select_channels(model, coupling, request).keep
    widths = [int(keep[coupling.layers[path].outputs].sum()) for path in ("0", "1", "2")]
    assert widths[:2] == [32, 32]  # the nearest multiple is 16
    assert widths[2] == (24 if least == 20 else 16)
