from typing import Literal

import pytest
import torch
from torch import Tensor

from tests.tiny import shake_norms, tiny_detector, tiny_train_set
from tests.training.test_fit import train_params
from yoloslim.config import SparseParams
from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector
from yoloslim.training.callback import Callback, State
from yoloslim.training.fit import Task, fit
from yoloslim.training.sparsity import Collapse, SparsityPenalty, decayed

LAYERS = ("model.0.bn", "model.3.cv1.bn")
Mode = Literal["subgradient", "proximal"]


def trained(seed: int = 0) -> Detector:
    model = tiny_detector()
    shake_norms(model, seed)
    return model


def penalty(
    model: Detector, mode: Mode = "subgradient", beta_factor: float = 0.0, rate: float = 0.01
) -> SparsityPenalty:
    return SparsityPenalty(model, LAYERS, rate, mode, beta_factor, momentum=0.9)


def state(model: Detector, epoch: int = 0, lr: float = 0.1) -> State:
    return State(model, model, epochs=10, epoch=epoch, lr=lr)


def added(model: Detector, rider: SparsityPenalty, epoch: int = 0) -> dict[str, Tensor]:
    """What a penalty adds to the gradients of a model, where it adds anything."""
    before = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        p.grad = before[name].clone()
    rider.before_step(state(model, epoch))
    found = {name: p.grad - before[name] for name, p in model.named_parameters() if p.grad is not None}
    return {name: value for name, value in found.items() if value.any()}


@pytest.mark.parametrize("epoch", [0, 5, 9])
def test_subgradient_is_the_decayed_rate_times_the_sign(epoch: int) -> None:
    model = trained()
    model.model[0].bn.weight.data[1] = 0.0
    found = added(model, penalty(model), epoch)
    rate = 0.01 * (1 - 0.9 * epoch / 10)
    assert found.keys() == {f"{path}.weight" for path in LAYERS}
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, rate * model.get_parameter(name).sign(), rtol=0, atol=1e-6)
    assert found["model.0.bn.weight"][1] == 0


def test_beta_has_a_penalty_of_its_own_that_does_not_decay() -> None:
    model = trained()
    found = added(model, penalty(model, beta_factor=10), epoch=5)
    for path in LAYERS:
        bias, weight = (model.get_parameter(f"{path}.{name}").sign() for name in ("bias", "weight"))
        torch.testing.assert_close(found[f"{path}.bias"], 0.1 * bias, rtol=0, atol=1e-6)
        torch.testing.assert_close(found[f"{path}.weight"], 0.0055 * weight, rtol=0, atol=1e-6)


def test_penalty_acts_on_the_model_in_training_not_on_the_one_it_was_made_with() -> None:
    made_with, in_training = trained(0), trained(1)
    assert added(in_training, penalty(made_with)).keys() == {f"{path}.weight" for path in LAYERS}
    assert all(p.grad is None for p in made_with.parameters())
    before = made_with.model[0].bn.weight.clone()
    penalty(made_with, "proximal").after_step(state(in_training))
    assert torch.equal(made_with.model[0].bn.weight, before)


class Gradients(Callback):
    """Keeps the first finite gradients, as the optimizer is about to see them."""

    def __init__(self) -> None:
        self.seen: dict[str, Tensor] = {}
        self.epoch = 0

    def before_step(self, state: State) -> None:
        found = {n: p.grad.clone() for n, p in state.model.named_parameters() if p.grad is not None}
        if not self.seen and all(g.isfinite().all() for g in found.values()):
            self.seen, self.epoch = found, state.epoch


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_penalty_is_the_same_in_every_precision_and_escapes_clipping(precision: str) -> None:
    """The detection loss of this step has a gradient far above the clipping norm; the penalty must not shrink."""
    model, plain, penalised = trained(), Gradients(), Gradients()
    phase = SparseParams(optimizer="SGD", epochs=12, rate=0.01, warmup_epochs=0)
    settings = train_params(precision=precision, batch=4, obj_gain=20_000, val_every=99)
    for riders in ((plain,), (penalty(model), penalised)):
        fit(Task(model, tiny_train_set(4), lambda m: {"map50": 0, "map50_95": 0}, settings, phase, callbacks=riders))
    norm = torch.cat([g.flatten() for g in plain.seen.values()]).norm()
    assert norm == pytest.approx(10, rel=1e-3)  # clipped, so unscaled before that
    assert plain.epoch == penalised.epoch
    for path in LAYERS:
        name = f"{path}.weight"
        expected = decayed(0.01, plain.epoch, 12) * model.get_parameter(name).sign()
        torch.testing.assert_close(penalised.seen[name] - plain.seen[name], expected, rtol=0, atol=1e-5)


def test_proximal_mode_adds_no_gradient_and_subgradient_mode_moves_no_weights() -> None:
    model = trained()
    assert added(model, penalty(model, "proximal")) == {}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    penalty(model, "subgradient").after_step(state(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_soft_threshold_by_hand() -> None:
    model = trained()
    model.model[0].bn.weight.data = torch.tensor([1.0, -1.0, 0.004, -0.0049])
    untouched = model.model[1].bn.weight.clone()
    # lr 0.1, rate 0.01 * (1 - 0.9 * 5 / 10) = 0.0055, momentum 0.9: threshold 0.1 * 0.0055 / 0.1
    penalty(model, "proximal").after_step(state(model, epoch=5))
    torch.testing.assert_close(model.model[0].bn.weight.data, torch.tensor([0.9945, -0.9945, 0.0, 0.0]))
    assert (model.model[0].bn.weight == 0).tolist() == [False, False, True, True]
    assert torch.equal(model.model[1].bn.weight, untouched)


@pytest.mark.parametrize("mode", ["subgradient", "proximal"])
@pytest.mark.parametrize("freeze", [2, 6])
def test_frozen_layers_stay_as_they_were(mode: Mode, freeze: int) -> None:
    start = trained()
    rider = penalty(start, mode, beta_factor=1, rate=0.5)
    phase = SparseParams(epochs=2, lr0=0.05, lrf=0.1, warmup_epochs=0)
    train = train_params(batch=4, freeze=freeze, ema_tau=1, ema_decay=0.5)
    made = Task(start, tiny_train_set(4), lambda _: {"map50": 0, "map50_95": 0}, train, phase, callbacks=(rider,))
    model = fit(made).model
    for before, after in zip(start.model[:freeze].parameters(), model.model[:freeze].parameters(), strict=True):
        assert torch.equal(before, after)
    moved = model.model[3].cv1.bn.weight - start.model[3].cv1.bn.weight
    assert bool(moved.any()) == (freeze == 2)


def test_threshold_follows_the_learning_rate() -> None:
    model = trained()
    before = model.model[0].bn.weight.detach().clone()
    penalty(model, "proximal").after_step(state(model, lr=0.0))
    assert torch.equal(model.model[0].bn.weight, before)


def test_epoch_row_has_quantiles_and_the_share_near_zero() -> None:
    model = trained()
    model.model[0].bn.weight.data = torch.tensor([0.0, -0.005, 0.5, -1.0])
    model.model[3].cv1.bn.weight.data = torch.tensor([0.009, 0.011, 2.0, 3.0])
    rider = penalty(model)
    row = rider.after_epoch(state(model))
    assert row["near_zero"] == 3 / 8
    assert row["gamma_p50"] == pytest.approx((0.011 + 0.5) / 2)
    assert row["gamma_p95"] == pytest.approx(2.65)
    assert list(row) == ["gamma_p05", "gamma_p25", "gamma_p50", "gamma_p75", "gamma_p95", "near_zero"]


def test_scales_are_cut_into_layers_in_order() -> None:
    model = trained()
    rider = penalty(model)
    first, second = rider.split(rider.before)
    assert torch.equal(first, model.model[0].bn.weight.detach())
    assert torch.equal(second, model.model[3].cv1.bn.weight.detach())


def test_history_of_scales_survives_a_kill() -> None:
    rider = penalty(trained())
    rider.after_epoch(state(trained(1)))
    rider.after_epoch(state(trained(2)))
    again = penalty(trained())
    again.restore(rider.saved())
    assert len(again.by_epoch) == 2
    assert all(torch.equal(a, b) for a, b in zip(again.by_epoch, rider.by_epoch, strict=True))


@pytest.mark.parametrize("mode", ["subgradient", "proximal"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_drives_the_penalised_scales_down_and_no_others(mode: Mode, precision: str) -> None:
    start = tiny_detector()
    rider = penalty(start, mode, rate=0.2)
    train = train_params(batch=4, precision=precision, ema_tau=1, ema_decay=0.5)
    phase = SparseParams(epochs=8, lr0=0.05, lrf=0.1, warmup_epochs=0)
    task = Task(
        start, tiny_train_set(4), lambda _: {"map50": 0, "map50_95": 0}, train, phase, callbacks=(rider,), keep="last"
    )
    model = fit(task).model
    penalised = rider.gammas(model).abs()
    assert penalised.max() < 0.9
    assert model.model[1].bn.weight.abs().min() > 0.99
    assert torch.equal(rider.before, torch.ones(8))
    assert len(rider.by_epoch) == 8


def test_strong_proximal_penalty_gives_exact_zeros() -> None:
    start = tiny_detector()
    rider = penalty(start, "proximal", rate=5)
    train = train_params(batch=4, ema_tau=1e-6, ema_decay=0)
    phase = SparseParams(epochs=3, lr0=0.05, lrf=0.1, warmup_epochs=0)
    task = Task(
        start, tiny_train_set(4), lambda _: {"map50": 0, "map50_95": 0}, train, phase, callbacks=(rider,), keep="last"
    )
    assert rider.gammas(fit(task).model).count_nonzero() == 0


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.01), (5, 0.0055), (9, 0.0019)])
def test_rate_falls_towards_a_tenth(epoch: int, expected: float) -> None:
    assert decayed(0.01, epoch, 10) == pytest.approx(expected)


def run_with_scores(scores: list[float | None]) -> int:
    """Epochs with these validations, a floor of 0.3 and patience for three below it; how many were gone through."""
    model = trained()
    rider = SparsityPenalty(model, LAYERS, 0.01, "proximal", 0.0, 0.9, Collapse(0.3))
    now = state(model)
    for score in scores:
        now.history.append({} if score is None else {"map50": score})
        rider.after_epoch(now)
    return len(rider.by_epoch)


def test_lasting_collapse_stops_with_advice() -> None:
    message = r"below 0\.300 for 3 epochs \(now 0\.250\).* Try sparse\.rate=0\.0033 \(now 0\.01\).*max_collapse"
    with pytest.raises(TrainError, match=message):
        run_with_scores([0.5, 0.2, 0.1, None, 0.25])


@pytest.mark.parametrize("scores", [[0.2, 0.1, 0.3, 0.2, 0.1], [0.1, 0.2], [None] * 9, [0.3] * 9])
def test_passing_dip_stops_nothing(scores: list[float | None]) -> None:
    assert run_with_scores(scores) == len(scores)
