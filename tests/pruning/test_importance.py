import copy

import numpy as np
import pytest
import torch
from tests.pruning.networks import NETWORKS, randomise
from torch import Tensor, nn

from yoloslim.errors import PruneError
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.importance import channel_scores, group_costs, taylor_scores
from yoloslim.pruning.selection import select_channels

MODEL = randomise(NETWORKS["Residual"]())
COUPLING = find_coupling(MODEL, (2, 3, 16, 16))


def test_gamma_is_the_absolute_scale() -> None:
    scores = channel_scores(MODEL, COUPLING)
    assert list(scores) == COUPLING.batchnorms
    np.testing.assert_allclose(scores["a.0.bn"], MODEL.a[0].bn.weight.abs().detach().numpy(), rtol=1e-6)  # type: ignore[index, union-attr]


def test_weight_norms_are_per_weight_so_that_layers_compare() -> None:
    weight = MODEL.stem.conv.weight.detach().flatten(1)  # type: ignore[union-attr, operator]
    l1, l2 = (channel_scores(MODEL, COUPLING, kind)["stem.conv"] for kind in ("l1", "l2"))  # type: ignore[arg-type]
    np.testing.assert_allclose(l1, weight.abs().mean(1).numpy(), rtol=1e-6)
    np.testing.assert_allclose(l2, weight.pow(2).mean(1).sqrt().numpy(), rtol=1e-6)


def test_random_scores_follow_the_seed() -> None:
    first, again, other = (channel_scores(MODEL, COUPLING, "random", seed=s)["stem.bn"] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_random_scores_need_no_batchnorm() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    assert list(channel_scores(model, find_coupling(model, (2, 3, 16, 16)), "random")) == ["0", "2"]


def loss(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).square().sum()


def test_taylor_scores_estimate_what_removing_a_scale_costs() -> None:
    x = torch.rand(2, 3, 16, 16).double()
    scores = taylor_scores(MODEL, COUPLING, [x], loss)
    gamma = MODEL.a[0].bn.weight  # type: ignore[index, union-attr]
    step = 1e-6
    with torch.no_grad():
        before = loss(MODEL, x)
        gamma[2] *= 1 + step  # type: ignore[index, operator]
        slope = float((loss(MODEL, x) - before) / step)
        gamma[2] /= 1 + step  # type: ignore[index, operator]
    assert scores["a.0.bn"][2] == pytest.approx(abs(slope), rel=1e-3)
    assert all(p.grad is None and p.requires_grad for p in MODEL.parameters())
    selection = select_channels(
        MODEL, COUPLING, PruneRequest(scope="coupled", importance="taylor", round_to=1), scores=scores
    )
    assert 30 < selection.effective_percent <= 50


def test_taylor_scores_are_the_same_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    network, found = copy.deepcopy(MODEL).float(), []
    monkeypatch.setattr("yoloslim.cores.usable_cores", lambda: 3)
    for count in (1, 2, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(count))
        found.append(taylor_scores(network, COUPLING, batches, loss))
    for other in found[1:]:
        for path, scores in found[0].items():
            np.testing.assert_array_equal(scores, other[path])


def test_a_loss_of_another_model_than_the_given_one_is_told() -> None:
    with pytest.raises(PruneError, match="depends on no scale of the model that loss_fn is given"):
        taylor_scores(MODEL, COUPLING, [torch.rand(2, 3, 16, 16).double()], lambda _, x: loss(MODEL, x))


def test_taylor_without_gradients_says_how_to_get_them() -> None:
    with pytest.raises(PruneError, match="collect scores with taylor_scores"):
        channel_scores(MODEL, COUPLING, "taylor")


@pytest.mark.parametrize("kind", ["l1", "l2", "random"])
def test_every_importance_prunes(kind: str) -> None:
    request = PruneRequest(scope="coupled", importance=kind, percent=40, round_to=1)  # type: ignore[arg-type]
    assert 10 < select_channels(MODEL, COUPLING, request).effective_percent <= 45


def test_costs_of_tied_channels_add_up() -> None:
    costs = group_costs(COUPLING, {"a.0.conv": 12.0, "a.1.conv": 48.0})
    shared, private = COUPLING.layers["stem.bn"].outputs[0], COUPLING.layers["a.0.bn"].outputs[0]
    assert costs[shared] / costs[private] == pytest.approx((12 / 8 + 48 / 8) / (12 / 6 + 48 / 6))
