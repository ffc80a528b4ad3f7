"""What arrives of a channel where it is read."""

import numpy as np
import pytest
import torch
from tests.pruning.networks import NETWORKS, randomise
from torch import nn

import yoloslim
from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.activation import activation_scores
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import select_channels


def test_the_score_is_the_mean_of_what_comes_out_of_the_activation_function() -> None:
    model = randomise(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1)))
    batches = [torch.rand(4, 3, 9, 9).double(), torch.rand(4, 3, 9, 9).double()]
    model.train()
    scores = activation_scores(model, find_coupling(model), batches)
    assert all(module.training for module in model.modules())
    expected = model.eval()[:3](torch.cat(batches)).mean((0, 2, 3)).detach()
    assert list(scores) == ["1"]
    np.testing.assert_allclose(scores["1"], expected, rtol=1e-6)


def test_channels_that_a_sum_ties_have_the_mean_over_all_that_read_them() -> None:
    model = randomise(NETWORKS["Residual"]())
    coupling, x = find_coupling(model, (2, 3, 16, 16)), torch.rand(2, 3, 16, 16).double()
    stem = model.stem(x)  # type: ignore[operator]
    first = stem + model.a(stem)  # type: ignore[operator]
    second = first + model.b(first)  # type: ignore[operator]
    scores = activation_scores(model, coupling, [x])
    np.testing.assert_array_equal(scores["stem.bn"], scores["a.1.bn"])
    inner = model.a[0](stem).abs().mean((0, 2, 3)).detach()  # type: ignore[index, operator]
    np.testing.assert_allclose(scores["a.0.bn"], inner, rtol=1e-6)
    read = sum(each.abs().mean((0, 2, 3)) for each in (stem, first, second)) / 3
    np.testing.assert_allclose(scores["stem.bn"], read.detach(), rtol=1e-6)  # type: ignore[union-attr]


def test_linear_layers_of_a_network_without_batchnorm_are_scored_by_the_example() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))
    x = torch.rand(32, 5)
    result = yoloslim.prune(network, x, percent=50, importance="activation", round_to=1)
    mean = network[1](network[0](x)).mean(0)
    kept = torch.sort(mean.argsort(descending=True)[:8]).values
    torch.testing.assert_close(result.model[0].weight, network[0].weight[kept])


def test_without_inputs_the_way_to_scores_is_named() -> None:
    model = randomise(NETWORKS["Residual"]())
    with pytest.raises(PruneError, match="give example_inputs, or scores of activation_scores"):
        select_channels(model, find_coupling(model, (2, 3, 16, 16)), PruneRequest(importance="activation"))
