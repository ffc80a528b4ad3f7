import json

import pytest
from tests.pruning.networks import NETWORKS, randomise
from tests.pruning.recipe import seed_batchnorms

from yoloslim.models.detector import build_detector, count_params
from yoloslim.pruning.inspection import inspect_model


def test_a_detector_is_described_in_plain_values() -> None:
    model = build_detector("yolov5n", ("a", "b"))
    seed_batchnorms(model)
    found = json.loads(json.dumps(inspect_model(model, 320), allow_nan=False))
    assert found["totals"]["params"] == count_params(model)
    assert found["scopes"]["coupled"]["channels"] == sum(layer["channels"] for layer in found["layers"]) == 4752
    assert found["scopes"]["source"]["channels"] == 3712
    assert 70 < found["scopes"]["coupled"]["percent_limit"] < 99
    assert found["scopes"]["source"]["gamma_p50"] == pytest.approx(0.337, abs=0.02)  # median of |N(0, 1)| / 2
    assert "sparse enough for about 1 percent" in found["scopes"]["source"]["verdict"]
    assert len(found["units"]) == 7


def test_a_scope_without_channels_says_so() -> None:
    found = inspect_model(randomise(NETWORKS["Residual"]()), 64)
    assert found["scopes"]["source"] == {
        "channels": 0,
        "verdict": "scope 'source' finds no prunable channel in this network",
    }
