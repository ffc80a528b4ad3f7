"""Scores made comparable between layers."""

import numpy as np
from torch import nn

from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.normalise import isomorphic, lamp


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
