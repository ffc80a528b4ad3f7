"""A batch in shares: what each computes, what is added up, and that the number of threads changes nothing."""

import copy
import threading

import pytest
import torch
from torch import Tensor

from tests.tiny import shake_norms, tiny_detector
from tests.training.test_fit import assert_same_weights, task, without_clock
from yoloslim.training.callback import Callback, State
from yoloslim.training.fit import Fit, fit
from yoloslim.training.shares import Shares, share_sizes


@pytest.mark.parametrize(
    ("images", "share", "expected"), [(16, 8, [8, 8]), (17, 8, [6, 6, 5]), (3, 8, [3]), (4, 1, [1, 1, 1, 1])]
)
def test_shares_are_few_and_of_equal_size(images: int, share: int, expected: list[int]) -> None:
    assert share_sizes(images, share) == expected


def learn(state: State) -> Tensor:
    loss = sum(head.square().mean() for head in state.model(state.images)) * len(state.images)
    loss = loss + state.targets[:, 1:].sum()
    loss.backward()
    return torch.stack([loss.detach(), torch.tensor(float(len(state.images)))])


def start() -> State:
    torch.manual_seed(1)
    model = tiny_detector()
    shake_norms(model)
    model.model[0].eval()  # frozen: its statistics stay
    targets = torch.tensor([[0, 1, 0.5, 0.5, 0.1, 0.1], [2, 0, 0.5, 0.5, 0.2, 0.2], [4, 1, 0.1, 0.2, 0.3, 0.4]])
    return State(model, model, 1, images=torch.rand(5, 3, 64, 64), targets=targets)


def test_gradients_and_statistics_are_those_of_each_share_computed_alone() -> None:
    state = start()
    before = copy.deepcopy(state.model)
    alone, losses = [], []
    for part, owners in ((slice(0, 3), [0, 2]), (slice(3, 5), [4])):
        model = copy.deepcopy(before)
        rows = torch.stack([row for row in state.targets if int(row[0]) in owners])
        losses.append(learn(State(model, model, 1, images=state.images[part], targets=rows))[0])
        alone.append(model)
    sums = Shares(state.model, 3, 2).learn(state, learn)
    assert sums[1] == 5
    torch.testing.assert_close(sums[0], losses[0] + losses[1])
    for mine, first, second in zip(state.model.parameters(), *(m.parameters() for m in alone), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, first.grad + second.grad)
    buffers = [dict(model.named_buffers()) for model in (state.model, *alone)]
    for name, value in buffers[0].items():
        if value.dtype.is_floating_point:
            torch.testing.assert_close(value, 0.6 * buffers[1][name] + 0.4 * buffers[2][name])
        else:
            assert value == buffers[1][name]
    assert torch.equal(buffers[0]["model.0.bn.running_mean"], dict(before.named_buffers())["model.0.bn.running_mean"])


def test_each_share_has_its_own_boxes_counted_from_its_first_image() -> None:
    state, seen = start(), {}

    def note(state: State) -> Tensor:
        seen[len(state.images)] = state.targets[:, :2].tolist()
        return torch.zeros(1)

    Shares(state.model, 3, 1).learn(state, note)
    assert seen == {3: [[0, 1], [2, 0]], 2: [[1, 1]]}


def test_an_error_in_a_share_is_raised_when_all_have_ended() -> None:
    state, ended = start(), []

    def fail(state: State) -> Tensor:
        if len(state.images) == 3:
            raise ZeroDivisionError
        ended.append(state)
        return torch.zeros(1)

    with pytest.raises(ZeroDivisionError):
        Shares(state.model, 3, 2).learn(state, fail)
    assert len(ended) == 1


class Witness(Callback):
    """A term of the loss that notes which threads asked for it."""

    terms = ("witness",)

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def extra_loss(self, state: State) -> Tensor:
        self.threads.add(threading.current_thread().name)
        return torch.tensor([0.5]) * len(state.images)


def shared(threads: int, monkeypatch: pytest.MonkeyPatch, share: int = 1) -> tuple[Fit, Witness]:
    monkeypatch.setattr("yoloslim.cores.usable_cores", lambda: 3)
    witness = Witness()
    return fit(task(2, train={"share": share, "threads": threads}, callbacks=(witness,))), witness


def test_any_number_of_threads_trains_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    (one, _), (three, witness) = shared(1, monkeypatch), shared(3, monkeypatch)
    assert_same_weights(one.model, three.model)
    assert without_clock(one) == without_clock(three)
    assert len(witness.threads) == 3
    assert [row["witness_loss"] for row in one.history] == [0.5, 0.5]


def test_a_batch_of_one_share_trains_as_without_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what autocast does: the whole batch's outputs come back in fp32."""
    whole = fit(task(2, train={"share": 0, "precision": "fp32"}))
    parts = fit(task(2, train={"share": 8, "precision": "fp32"}))
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_numbers_of_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        fit(task(1, train={"share": 2}))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
