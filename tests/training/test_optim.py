import math

import pytest
import torch
from torch import nn

from tests.tiny import shake_norms, tiny_detector
from yoloslim.config import BaselineParams
from yoloslim.training.optim import Ema, build_optimizer, learning_rates, lr_factor, set_learning_rates

PHASE = BaselineParams(epochs=10, lr0=0.02, lrf=0.1, warmup_epochs=2)


def names_by_role(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, set[str]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {g["role"]: {names[id(p)] for p in g["params"]} for g in optimizer.param_groups}


@pytest.mark.parametrize(
    ("name", "kind"), [("SGD", torch.optim.SGD), ("Adam", torch.optim.Adam), ("AdamW", torch.optim.AdamW)]
)
def test_only_convolution_weights_decay(name: str, kind: type[torch.optim.Optimizer]) -> None:
    model = tiny_detector()
    optimizer = build_optimizer(model, name, 0.01, 0.9, 5e-4)
    roles = names_by_role(optimizer, model)
    assert type(optimizer) is kind
    assert roles["scale"] == {n for n, _ in model.named_parameters() if n.endswith("bn.weight")}
    assert roles["bias"] == {n for n, _ in model.named_parameters() if n.endswith("bias")}
    assert "model.6.m.0.bias" in roles["bias"]
    assert roles["weight"] == {n for n, _ in model.named_parameters()} - roles["scale"] - roles["bias"]
    assert sum(len(r) for r in roles.values()) == len(list(model.parameters()))
    decays = {g["role"]: g["weight_decay"] for g in optimizer.param_groups}
    assert decays == {"bias": 0.0, "scale": 0.0, "weight": 5e-4}


def test_momentum_is_beta1_of_adam() -> None:
    sgd, adam = (build_optimizer(tiny_detector(), name, 0.01, 0.9, 0) for name in ("SGD", "Adam"))
    assert sgd.param_groups[0]["momentum"] == 0.9
    assert sgd.param_groups[0]["nesterov"]
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)


def test_frozen_parameters_are_left_out() -> None:
    model = tiny_detector()
    model.model[0].requires_grad_(False)
    names = set().union(*names_by_role(build_optimizer(model, "SGD", 0.01, 0.9, 0), model).values())
    assert not any(name.startswith("model.0.") for name in names)


def test_sgd_without_momentum_can_be_built() -> None:
    assert not build_optimizer(tiny_detector(), "SGD", 0.01, 0.0, 0).param_groups[0]["nesterov"]


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("linear", 0, 1),
        ("linear", 0.5, 0.55),
        ("linear", 1, 0.1),
        ("cosine", 0, 1),
        ("cosine", 1 / 3, 0.1 + 0.9 * 0.75),
        ("cosine", 0.5, 0.55),
        ("cosine", 1, 0.1),
    ],
)
def test_schedule_values(schedule: str, progress: float, expected: float) -> None:
    assert lr_factor(progress, 0.1, schedule) == pytest.approx(expected)


def at_step(name: str, step: int) -> dict[str, dict[str, float]]:
    """Rate and momentum of each group at a step of 10 epochs with 5 steps, the first two epochs of warm-up."""
    optimizer = build_optimizer(tiny_detector(), name, PHASE.lr0, 0.9, 0)
    returned = set_learning_rates(optimizer, PHASE, step, 5, "linear", 0.9)
    groups = {g["role"]: {k: g[k] for k in ("lr", "momentum") if k in g} for g in optimizer.param_groups}
    assert groups["weight"]["lr"] == pytest.approx(returned)
    return groups


def test_warm_up_raises_weights_from_zero_and_lowers_biases() -> None:
    first, middle, after = at_step("SGD", 0), at_step("SGD", 5), at_step("SGD", 10)
    goal = 0.02 * (1 - 0.9 * 5 / 50)
    assert first == {
        "bias": {"lr": 0.1, "momentum": 0.8},
        "scale": {"lr": 0.0, "momentum": 0.8},
        "weight": {"lr": 0.0, "momentum": 0.8},
    }
    assert middle["weight"]["lr"] == pytest.approx(goal / 2)
    assert middle["bias"]["lr"] == pytest.approx(0.1 + (goal - 0.1) / 2)
    assert middle["bias"]["momentum"] == pytest.approx(0.85)
    assert [g["lr"] for g in after.values()] == pytest.approx([0.02 * (1 - 0.9 * 10 / 50)] * 3)
    assert [g["momentum"] for g in after.values()] == [0.9] * 3


def test_biases_of_adam_do_not_start_high() -> None:
    assert at_step("Adam", 0) == {role: {"lr": 0.0} for role in ("bias", "scale", "weight")}


def test_forecast_of_rates_is_what_training_sets() -> None:
    optimizer = build_optimizer(tiny_detector(), "SGD", PHASE.lr0, 0.9, 0)
    found = [set_learning_rates(optimizer, PHASE, step, 5, "cosine", 0.9) for step in range(50)]
    assert found == pytest.approx(list(learning_rates(PHASE, 5, "cosine")))


def test_training_without_warm_up_starts_at_full_rate() -> None:
    phase = BaselineParams(lr0=0.02, warmup_epochs=0)
    assert next(learning_rates(phase, 5, "cosine")) == 0.02


def test_average_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    ema = Ema(model, decay=0.9, tau=2)
    expected = 1.0
    for update, value in enumerate((3.0, -2.0, 5.0), start=1):
        nn.init.constant_(model.weight, value)
        ema.update(model)
        decay = 0.9 * (1 - math.exp(-update / 2))
        expected = decay * expected + (1 - decay) * value
        assert ema.model.weight.item() == pytest.approx(expected)


def test_average_takes_running_statistics_along_and_leaves_the_model_alone() -> None:
    model = tiny_detector()
    ema = Ema(model, decay=0.5, tau=1e-9)
    shake_norms(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ema.update(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    fresh, mean = torch.zeros(4), model.model[0].bn.running_mean
    torch.testing.assert_close(ema.model.model[0].bn.running_mean, 0.5 * fresh + 0.5 * mean)
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())
