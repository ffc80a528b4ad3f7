import logging

import pytest

from tests.tiny import tiny_detector, tiny_train_set
from tests.training.test_fit import train_params
from yoloslim.config import SparseParams
from yoloslim.training.fit import Task, fit
from yoloslim.training.sparsity import SparsityPenalty
from yoloslim.training.sparsity_forecast import SparsityForecast


@pytest.mark.parametrize(("batch", "steps"), [(1, 4), (2, 2)])
def test_forecast_counts_the_steps_that_are_taken(
    batch: int, steps: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With `batch: 0` only the training knows them; the choice of a GPU is a fake here."""
    monkeypatch.setattr("yoloslim.training.fit.choose_batch", lambda *_: batch)
    model = tiny_detector()
    phase = SparseParams(epochs=1, lr0=0.1, lrf=1, warmup_epochs=0, rate=0.01, optimizer="SGD", momentum=0.5)
    penalty = SparsityPenalty(model, ["model.0.bn"], phase.rate, phase.mode, 0, phase.momentum)
    riders = (penalty, SparsityForecast(penalty, phase, "cosine", 50))
    train = train_params(batch=0)
    with caplog.at_level(logging.INFO):
        fit(Task(model, tiny_train_set(4), lambda _: {"map50": 0, "map50_95": 0}, train, phase, callbacks=riders))
    # each step moves a scale by 0.1 * 0.01 / (1 - 0.5)
    assert f"forecast: scales can move by only {steps * 0.002:.3g} while 50 % of them start below 1" in caplog.text
