import numpy as np
import pytest
import torch

from yoloslim.errors import PruneError
from yoloslim.pruning.forecast import forecast, prunability, travel


def test_the_case_users_meet_first_cannot_move_its_scales() -> None:
    distance = travel([0.01] * 800, [1e-4] * 800, momentum=0.937)  # coco128: 8 steps an epoch, 100 epochs
    assert distance == pytest.approx(0.0127, abs=1e-4)
    result = forecast(np.ones(100), distance, 1e-4, percent=50)
    assert result.reach_percent == 0
    assert result.needed_rate == pytest.approx(1e-4 / distance)
    assert "raise the rate from 0.0001 to about 0.0079" in result.text


def test_travel_of_sgd_is_what_sgd_does() -> None:
    gamma = torch.nn.Parameter(torch.tensor(10.0))
    optimizer = torch.optim.SGD([gamma], lr=0.01, momentum=0.9)
    for _ in range(2000):
        optimizer.zero_grad()
        gamma.grad = torch.tensor(0.05)
        optimizer.step()
    assert 10 - float(gamma.detach()) == pytest.approx(travel([0.01] * 2000, [0.05] * 2000, momentum=0.9), rel=0.01)


@pytest.mark.parametrize("rate", [1e-5, 1e-2])
def test_travel_of_adam_does_not_depend_on_the_rate(rate: float) -> None:
    gamma = torch.nn.Parameter(torch.tensor(10.0))
    optimizer = torch.optim.Adam([gamma], lr=0.001)
    for _ in range(500):
        optimizer.zero_grad()
        gamma.grad = torch.tensor(rate)
        optimizer.step()
    reach = travel([0.001] * 500, [rate] * 500, optimizer="adam")
    assert 10 - float(gamma.detach()) == pytest.approx(reach, rel=0.01)


def test_proximal_steps_add_up_exactly() -> None:
    assert travel([0.1, 0.2], [1.0, 0.5], mode="proximal", optimizer="adam") == pytest.approx(0.2)


def test_a_reachable_percent_is_said_to_be() -> None:
    result = forecast(np.linspace(0.01, 1, 100), 0.6, 1e-3, percent=50)
    assert result.reach_percent == 60
    assert result.text == "scales can move by 0.6: up to 60 % can reach zero, 50 % are asked for"


def test_the_verdict_counts_scales_near_zero() -> None:
    result = prunability(np.r_[np.full(47, 1e-3), np.full(53, 1.0)])
    assert result.percent == 47
    assert result.near_zero_percent == 47
    assert result.contribution_percent == pytest.approx(100 * 0.047 / 53.047)
    assert result.text == "sparse enough for about 47 percent: 47.0 % of 100 scales are below 0.01"
    assert not result.advice


def test_the_verdict_on_scales_that_did_not_move_says_what_to_do() -> None:
    result = prunability(np.ones(10))
    assert result.percent == 0
    assert result.text == "sparse enough for about 0 percent: 0.0 % of 10 scales are below 0.01"
    assert "raise the rate or train longer" in result.advice


def test_all_scales_at_zero_leave_something_to_keep() -> None:
    assert prunability(np.zeros(10)).percent == 99


@pytest.mark.parametrize("gammas", [np.array([]), np.array([1, np.nan])])
def test_scales_that_cannot_be_judged_are_errors(gammas: np.ndarray) -> None:
    with pytest.raises(PruneError):
        prunability(gammas)
