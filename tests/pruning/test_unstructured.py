import pytest
import torch
from tests.pruning.networks import NETWORKS, randomise
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.pruning.unstructured import zero_share, zero_weights


def test_the_smallest_weights_of_each_convolution_become_zero() -> None:
    model = randomise(NETWORKS["Residual"]())
    sparse = zero_weights(model, 30)
    assert zero_share(sparse) == pytest.approx(30, abs=0.5)
    assert zero_share(model) == 0
    for before, after in zip(model.modules(), sparse.modules(), strict=True):
        if isinstance(before, nn.Conv2d):
            gone = after.weight == 0  # type: ignore[operator]
            assert before.weight[gone].abs().max() <= before.weight[~gone].abs().min()
            assert torch.equal(before.weight[~gone], after.weight[~gone])  # type: ignore[index, arg-type]


def test_faults_are_named() -> None:
    model = randomise(NETWORKS["Residual"]())
    with pytest.raises(PruneError, match="percent=100"):
        zero_weights(model, 100)
    nn.init.constant_(model.head.weight, float("nan"))  # type: ignore[union-attr, arg-type]
    with pytest.raises(PruneError, match="layer 'head'"):
        zero_weights(model, 30)
