"""Scores made comparable between layers."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from tests.pruning.networks import NETWORKS, randomise
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.prune_request import Normalise, PruneRequest, Scorer
from yoloslim.pruning.certified_cut import prune
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.importance import Scores, channel_scores
from yoloslim.pruning.normalise import isomorphic, lamp, per_mean, ranking_scores, uniform
from yoloslim.pruning.selection import select_channels


def test_lamp_is_the_share_of_all_that_are_no_weaker() -> None:
    found = lamp({"a": np.array([3, 1, 2], np.float32), "b": np.zeros(2, np.float32)})
    np.testing.assert_allclose(found["a"], [1, 1 / 14, 4 / 13], rtol=1e-6)
    assert found["b"].tolist() == [0, 0]


def test_lamp_does_not_know_the_scale_of_a_layer() -> None:
    values = np.random.default_rng(0).random(9).astype(np.float32)
    np.testing.assert_allclose(lamp({"a": values})["a"], lamp({"a": 100 * values})["a"], rtol=1e-5)


def test_one_threshold_over_isomorphic_ranks_takes_the_same_share_of_every_kind() -> None:
    layers = [nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3)]
    layers += [nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)]
    model = nn.Sequential(*layers)
    coupling, rng = find_coupling(model), np.random.default_rng(0)
    scores = {path: rng.random(8).astype(np.float32) for path in ("1", "3", "5", "7")}
    found = isomorphic(model, coupling, scores)
    alike = np.concatenate([found["3"], found["5"]])  # given by 3x3, and read by 3x3
    assert sorted(alike.tolist()) == [(i + 1) / 16 for i in range(16)]
    for path in ("1", "7"):  # read by 3x3 and given by 1x1, and the other way round: each by itself
        assert sorted(found[path].tolist()) == [(i + 1) / 8 for i in range(8)]
        np.testing.assert_array_equal(np.argsort(found[path]), np.argsort(scores[path]))
    loud = isomorphic(model, coupling, scores | {"1": 1000 * scores["1"]})
    np.testing.assert_array_equal(loud["1"], found["1"])


NETWORK = randomise(NETWORKS["Residual"]())
COUPLING = find_coupling(NETWORK, (2, 3, 16, 16))
GAMMA = channel_scores(NETWORK, COUPLING)
BY_HAND: dict[str, Callable[[Scores], Scores]] = {
    "none": lambda scores: scores,
    "lamp": lamp,
    "isomorphic": lambda scores: isomorphic(NETWORK, COUPLING, scores),
    "uniform": lambda scores: uniform(COUPLING, scores),
    "mean": lambda scores: {path: values / values.mean() for path, values in scores.items()},
}


def test_uniform_ranks_take_the_same_share_of_every_layer() -> None:
    loud = GAMMA | {"a.0.bn": 1000 * GAMMA["a.0.bn"]}
    request = PruneRequest(normalise="uniform", percent=50, round_to=1)
    keep = select_channels(NETWORK, COUPLING, request, scores=loud).keep
    for path in COUPLING.batchnorms:
        outputs = COUPLING.layers[path].outputs
        assert keep[outputs].sum() in (len(outputs) // 2, len(outputs) // 2 + 1)  # the threshold itself stays
    alone = GAMMA["a.0.bn"]
    assert uniform(COUPLING, loud)["a.0.bn"].tolist() == pytest.approx((1 + alone.argsort().argsort()) / len(alone))


def test_the_mean_of_every_layer_becomes_one() -> None:
    found = per_mean({"a": np.array([1, 3], np.float32), "b": np.zeros(2, np.float32)})
    assert found["a"].tolist() == [0.5, 1.5]
    assert found["b"].tolist() == [0, 0]


@pytest.mark.parametrize("how", get_args(Normalise))
@pytest.mark.parametrize(
    "importance", ["gamma", "l1", "l2", "random", lambda path, layer: layer.weight.flatten(1).std(1)]
)
def test_every_importance_can_be_made_comparable(importance: str | Scorer, how: Normalise) -> None:
    request = PruneRequest(importance=importance, normalise=how, percent=40, round_to=1)
    plain = channel_scores(NETWORK, COUPLING, importance)
    expected = BY_HAND[how](plain)
    found = ranking_scores(NETWORK, COUPLING, request)
    assert list(found) == list(expected)
    for path, values in expected.items():
        np.testing.assert_allclose(found[path], values, rtol=1e-6)
    selection = select_channels(NETWORK, COUPLING, request)
    np.testing.assert_array_equal(
        selection.keep, select_channels(NETWORK, COUPLING, PruneRequest(percent=40, round_to=1), scores=expected).keep
    )
    assert 10 < selection.effective_percent <= 45


def test_a_target_and_a_budget_of_time_go_by_comparable_scores() -> None:
    loud = GAMMA | {"a.0.bn": 1000 * GAMMA["a.0.bn"]}

    def small(normalise: Normalise, scores: Scores) -> np.ndarray:
        request = PruneRequest(normalise=normalise, target_params_m=0.0006, round_to=1, imgsz=None)
        return select_channels(NETWORK, COUPLING, request, scores=scores).keep

    def quick(normalise: Normalise, scores: Scores) -> np.ndarray:
        return prune(
            NETWORK,
            PruneRequest(normalise=normalise, percent=40, round_to=1, imgsz=None),
            scores=scores,
            measure_ms=lambda m: sum(p.numel() for p in m.parameters()),
            selection="latency",
            layer_ms=lambda path, c_in, c_out: c_in * c_out,
            example=(2, 3, 16, 16),
        ).selection.keep

    for chosen in (small, quick):
        np.testing.assert_array_equal(chosen("lamp", loud), chosen("none", lamp(loud)))
        assert (chosen("lamp", loud) != chosen("none", loud)).any()


def test_a_score_that_is_none_is_named_whatever_gave_it() -> None:
    bad = GAMMA | {"a.0.bn": np.full(len(GAMMA["a.0.bn"]), np.nan, np.float32)}
    with pytest.raises(PruneError, match=r"layer 'a.0.bn': 6 of 6 taylor scores are NaN or infinite"):
        select_channels(NETWORK, COUPLING, PruneRequest(importance="taylor"), scores=bad)


def test_a_way_that_is_not_there_is_an_error_with_the_nearest() -> None:
    with pytest.raises(PruneError, match="normalise 'lampe' is unknown; did you mean 'lamp'"):
        PruneRequest(normalise="lampe")  # type: ignore[arg-type]
