"""Penalties on coupled groups, against norms, gradients and steps computed by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.tiny import shake_norms, tiny_detector, tiny_train_set
from tests.training.test_fit import train_params
from yoloslim.config import SparseParams, parse_params
from yoloslim.errors import ConfigError, Interrupted, PruneError
from yoloslim.models.detector import Detector
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.group_weights import GroupWeights
from yoloslim.training.callback import Callback, State
from yoloslim.training.fit import Task, fit
from yoloslim.training.group_lasso import GroupLasso
from yoloslim.training.group_penalty import GroupPenalty
from yoloslim.training.growing import GrowingPenalty, grown
from yoloslim.training.penalties import PENALTIES


class Pair(nn.Module):
    """Two channels between two convolutions, and a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2)
        self.second = nn.Conv2d(2, 1, 1, bias=False)
        self.first.weight.data = torch.tensor([3.0, 1.0]).view(2, 1, 1, 1)
        self.norm.weight.data = torch.tensor([1.0, 2.0])
        self.second.weight.data = torch.tensor([2.0, 4.0]).view(1, 2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x)))


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def weights(pair: Pair) -> GroupWeights:
    coupling = find_coupling(pair, (2, 1, 8, 8))
    return GroupWeights(pair, coupling, ~coupling.protected)


def group_of(weights: GroupWeights) -> Tensor:
    """Numbers of the two groups, in the order of the channels."""
    return torch.from_numpy(next(side.groups for side in weights.sides if side.path == "norm"))


def test_norm_by_hand(pair: Pair, weights: GroupWeights) -> None:
    # means of squares: first (9 + 1) / 2 = 5, norm (1 + 4) / 2 = 2.5, second (4 + 16) / 2 = 10
    expected = torch.tensor([(9 / 5 + 1 / 2.5 + 4 / 10) / 3, (1 / 5 + 4 / 2.5 + 16 / 10) / 3]).sqrt()
    torch.testing.assert_close(weights.norms(pair)[group_of(weights)], expected)
    pair.norm.weight.data.mul_(10)  # what counts is where the weights began
    assert weights.norms(pair)[group_of(weights)][0].square().item() == pytest.approx((9 / 5 + 40 + 4 / 10) / 3)


def test_shrinking_and_gradient_by_hand(pair: Pair, weights: GroupWeights) -> None:
    shares = torch.zeros(len(weights.members))
    shares[group_of(weights)] = torch.tensor([0.5, 0.0])
    pair.first.weight.grad = torch.ones(2, 1, 1, 1)
    weights.add_gradient(pair, shares)
    assert pair.first.weight.grad.flatten().tolist() == [2.5, 1.0]
    assert pair.norm.weight.grad is None
    pair.second.weight.requires_grad_(False)
    weights.shrink(pair, shares)
    assert pair.first.weight.flatten().tolist() == [1.5, 1.0]
    assert pair.norm.weight.tolist() == [0.5, 2.0]
    assert pair.second.weight.flatten().tolist() == [2.0, 4.0]


def test_the_norm_is_one_that_all_gradients_add_up_to(pair: Pair, weights: GroupWeights) -> None:
    """d I / d(log of all weights of the group) = I: what `w / I` in the norm's own metric comes from."""
    channel, step = group_of(weights), 1e-3
    before = weights.norms(pair)[channel]
    shares = torch.zeros(len(weights.members))
    shares[channel[0]] = step / before[0]
    weights.shrink(pair, shares)
    after = weights.norms(pair)[channel]
    assert (before - after).tolist() == pytest.approx([step, 0], abs=1e-6)


def test_transposed_convolutions_are_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(4, 2, 1))
    coupling = find_coupling(net, (2, 3, 8, 8))
    with pytest.raises(PruneError, match=r"layer '1'.*transposed"):
        GroupWeights(net, coupling, ~coupling.protected)


def trained() -> Detector:
    model = tiny_detector()
    shake_norms(model)
    return model


def phase(penalty: str, **changes: object) -> SparseParams:
    plain = {"epochs": 3, "lr0": 0.02, "lrf": 0.5, "warmup_epochs": 0, "momentum": 0.9}
    return SparseParams.model_validate(plain | {"penalty": penalty} | changes)


def now(model: Detector, epoch: int = 0, step: int = 0) -> State:
    return State(model, model, epochs=10, steps=10, epoch=epoch, step=step, lr=0.1)


def test_lasso_takes_a_step_off_the_weakest_and_a_sixteenth_off_the_strongest() -> None:
    model = trained()
    rider = GroupLasso(model, "coupled", phase("group", rate=0.01))
    allowed = rider.weights.allowed
    before = rider.weights.norms(model)[allowed]
    pulled = (rider.pulls(now(model, epoch=5)) * rider.weights.norms(model))[allowed]
    rate = 0.01 * (1 - 0.9 * 5 / 10)
    assert pulled[before.argmin()].item() == pytest.approx(rate)
    assert pulled[before.argmax()].item() == pytest.approx(rate / 16)
    assert (rider.pulls(now(model))[~allowed] == 0).all()


def test_lasso_makes_exact_zeros_of_whole_groups() -> None:
    model = trained()
    rider = GroupLasso(model, "coupled", phase("group", rate=5.0))
    rider.after_step(now(model))
    zero = rider.weights.norms(model) == 0
    assert zero[rider.weights.allowed].any()
    assert not zero[rider.weights.allowed].all()
    outputs = rider.coupling.layers["model.0.bn"].outputs
    gone = zero[torch.from_numpy(outputs)]
    assert (model.model[0].conv.weight[gone] == 0).all()
    assert (model.model[0].bn.weight[gone] == 0).all()
    assert (model.model[1].conv.weight[:, gone] == 0).all()
    assert rider.after_epoch(now(model))["groups_near_zero"] > 0


def test_a_percent_that_takes_nothing_is_refused() -> None:
    with pytest.raises(PruneError, match=r"sparse\.percent=0\.1 takes none of \d+ channel groups; raise it"):
        GrowingPenalty(trained(), "free", phase("growing", percent=0.1))


def test_growth_is_in_hundredths_and_ends_below_the_rate() -> None:
    found = [grown(0.5, step, 400) for step in range(400)]
    assert found[0] == found[3] == 0
    assert found[4] == found[7] == pytest.approx(0.005)
    assert found[200] == pytest.approx(0.25)
    assert max(found) == found[-1] == pytest.approx(0.495)


def test_growing_penalty_lies_on_what_a_cut_of_its_percent_would_take() -> None:
    model = trained()
    model.model[1].bn.weight.data[:4] *= 0.01
    model.model[1].conv.weight.data[:4] *= 0.01
    rider = GrowingPenalty(model, "free", phase("growing", rate=0.5, percent=20))
    weak = torch.from_numpy(rider.coupling.layers["model.1.bn"].outputs[:4])
    assert rider.chosen[weak].all()
    pulls = rider.pulls(now(model, step=50))
    assert torch.equal(pulls, rider.chosen * 0.25)
    assert 0 < rider.chosen.sum() < rider.weights.allowed.sum()
    assert (rider.pulls(now(model)) == 0).all()


@pytest.mark.parametrize("name", ["group", "growing"])
@pytest.mark.parametrize("mode", ["subgradient", "proximal"])
def test_either_mode_leaves_the_other_side_of_the_step_alone(name: str, mode: str) -> None:
    model = trained()
    rider = PENALTIES[name](model, "coupled", phase(name, mode=mode), None)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for value in model.parameters():
        value.grad = torch.zeros_like(value)
    state = now(model, step=50)
    rider.before_step(state)
    assert any(value.grad.any() for value in model.parameters()) == (mode == "subgradient")
    rider.after_step(state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()) == (mode == "subgradient")
    assert torch.equal(model.model[0].bn.bias, before["model.0.bn.bias"])


def task(model: Detector, rider: Callback, settings: SparseParams, **more: object) -> Task:
    train = train_params(batch=2, ema_tau=1, ema_decay=0.5, share=1, threads=2)
    given = Task(model, tiny_train_set(4), lambda _: {"map50": 0, "map50_95": 0}, train, settings, callbacks=(rider,))
    return replace(given, keep="last", **more)


def weights_of(model: Detector) -> Tensor:
    return torch.cat([value.flatten() for value in model.parameters()])


class Stop(Callback):
    """Ends a training in the middle of its second epoch, as a kill would."""

    def after_step(self, state: State) -> None:
        if state.step == 2:
            raise Interrupted(15, "here", resumable=True)


@pytest.mark.parametrize("name", ["group", "growing"])
def test_same_seed_same_weights_also_after_a_kill(name: str, tmp_path: Path) -> None:
    start, settings = trained(), phase(name, rate=0.5, mode="proximal")

    def rider() -> GroupPenalty:
        made = PENALTIES[name](start, "coupled", settings, None)
        assert isinstance(made, GroupPenalty)
        return made

    whole, other = fit(task(start, rider(), settings)).model, fit(task(start, rider(), settings)).model
    assert torch.equal(weights_of(whole), weights_of(other))
    checkpoint = tmp_path / "checkpoint.pt"
    killed = task(start, rider(), settings, checkpoint=checkpoint)
    with pytest.raises(Interrupted):
        fit(replace(killed, callbacks=(*killed.callbacks, Stop())))
    again = task(start, rider(), settings, checkpoint=checkpoint)
    resumed = fit(replace(again, callbacks=(*again.callbacks, Callback()))).model
    assert torch.equal(weights_of(whole), weights_of(resumed))
    plain = fit(task(start, Callback(), settings)).model
    made = rider()
    fell = made.weights.norms(whole) < made.weights.norms(plain)
    pulled = made.chosen.bool() if isinstance(made, GrowingPenalty) else made.weights.allowed
    assert np.mean(fell[pulled].numpy()) > 0.9


def test_shifts_are_for_slimming() -> None:
    with pytest.raises(ConfigError, match="beta_factor=10 is for penalty slimming; group needs it to be 0"):
        parse_params({"sparse": {"penalty": "group", "beta_factor": 10}})
