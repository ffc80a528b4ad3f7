import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny import tiny_detector, tiny_train_set
from yoloslim.config import BaselineParams, TrainParams
from yoloslim.errors import Interrupted, TrainError
from yoloslim.models.detector import Detector
from yoloslim.training.callback import Callback, State
from yoloslim.training.checkpoint import load_checkpoint, save_checkpoint
from yoloslim.training.fit import Fit, Task, Validate, fit
from yoloslim.training.learner import MAX_NORM
from yoloslim.training.sparsity import SparsityPenalty

ROOT = Path(__file__).parents[2]
Scores = Callable[[int], float]


def scripted(scores: list[float], seen: list[dict[str, Tensor]] | None = None) -> Validate:
    """Validation that gives these values of map50_95 in turn, and notes the weights that it was shown."""
    rest: Iterator[float] = iter(scores)

    def validate(model: Detector) -> dict[str, float]:
        if seen is not None:
            seen.append({name: value.clone() for name, value in model.state_dict().items()})
        score = next(rest)
        return {"map50": score, "map50_95": score}

    return validate


def by_weights(model: Detector) -> dict[str, float]:
    """A score that depends on the weights alone, as a real one does."""
    score = float(model.model[0].conv.weight.abs().sum())
    return {"map50": score, "map50_95": math.sin(100 * score)}


def train_params(**values: Any) -> TrainParams:
    """Every choice that the tests rest on, so that other defaults change none of them."""
    chosen: dict[str, Any] = {
        **{"batch": 3, "schedule": "cosine", "ema_decay": 0.99, "ema_tau": 5},
        **{"precision": "fp32", "device": "cpu", "threads": 1, "val_every": 1, "patience": 0},
        **{"box_gain": 0.05, "obj_gain": 1.0, "cls_gain": 0.5, "mosaic": 1.0, "close_mosaic": 3, "mixup": 0.0},
        **{"scale": 0.5, "translate": 0.1, "hsv_h": 0.015, "hsv_s": 0.7, "hsv_v": 0.4, "flip": 0.5},
    }
    return TrainParams(**(chosen | values))


def task(epochs: int = 4, validate: Validate = by_weights, train: dict[str, Any] | None = None, **values: Any) -> Task:
    """Seven images in batches of three: the last batch of each epoch is short."""
    phase = BaselineParams(optimizer="SGD", momentum=0.9, epochs=epochs, lr0=0.01, lrf=0.01, warmup_epochs=1)
    made = Task(tiny_detector(), tiny_train_set(7), validate, train_params(**(train or {})), phase)
    return replace(made, **values)


def assert_same_weights(a: Detector, b: Detector) -> None:
    mine, theirs = a.state_dict(), b.state_dict()
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def without_clock(result: Fit) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "images_per_s"} for row in result.history]


class Fuse(Callback):
    """Ends a training by an exception after so many steps, in the middle of an epoch."""

    def __init__(self, steps: int, kill: bool = False) -> None:
        self.steps, self.kill = steps, kill

    def after_step(self, state: State) -> None:
        self.steps -= 1
        if not self.steps and self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if not self.steps:
            raise KeyboardInterrupt


class Poison(Callback):
    """Makes the weights useless from some step on."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, state: State) -> None:
        if state.step >= self.step:
            state.model.model[0].conv.weight.data.fill_(math.nan)


class BadGradient(Callback):
    """Spoils one step's gradients, and no part of the detection loss: by an infinite one, or by a term that is NaN."""

    def __init__(self, step: int, infinite: bool) -> None:
        self.step, self.infinite = step, infinite

    def extra_loss(self, state: State) -> Tensor | None:
        if state.step != self.step:
            return None
        if not self.infinite:
            return state.heads[0].sum() * math.nan
        state.heads[0].register_hook(lambda gradient: gradient / 0)
        return None


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, second, other = fit(task()), fit(task()), fit(task(seed=1))
    assert_same_weights(first.model, second.model)
    assert without_clock(first) == without_clock(second)
    with pytest.raises(AssertionError):
        assert_same_weights(first.model, other.model)


def test_training_lowers_the_loss_and_leaves_the_start_as_it_was() -> None:
    start = tiny_detector()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    still = {"mosaic": 0, "scale": 0, "translate": 0, "hsv_h": 0, "hsv_s": 0, "hsv_v": 0, "flip": 0}
    phase = task().phase.model_copy(update={"optimizer": "AdamW", "epochs": 30})
    result = fit(task(train=still, model=start, phase=phase))
    assert result.history[-1]["loss"] < 0.8 * result.history[0]["loss"]
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    assert start.training


def test_history_has_a_row_an_epoch_with_the_names_people_see() -> None:
    result = fit(task(3))
    columns = {"epoch", "box_loss", "obj_loss", "cls_loss", "loss", "lr", "images_per_s", "map50", "map50_95"}
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert all(row.keys() == columns for row in result.history)
    for row in result.history:
        assert row["loss"] == pytest.approx(row["box_loss"] + row["obj_loss"] + row["cls_loss"])


class Gradients(Callback):
    """Works out the gradients of every batch by itself, and notes what arrives at each update."""

    def __init__(self) -> None:
        self.own: list[Tensor] = []
        self.updates: list[tuple[Tensor, Tensor]] = []

    def extra_loss(self, state: State) -> None:
        loss, _ = state.model.spec.loss(train_params(), torch.device("cpu"))(state.heads, state.targets)
        found = torch.autograd.grad(loss, list(state.model.parameters()), retain_graph=True)
        self.own.append(torch.cat([gradient.flatten() for gradient in found]))

    def before_step(self, state: State) -> None:
        arrived = torch.cat([p.grad.flatten() for p in state.model.parameters() if p.grad is not None])
        total = torch.stack(self.own).sum(0)
        self.updates.append((arrived, total * min(1.0, MAX_NORM / float(total.norm()))))
        self.own = []


def test_batches_smaller_than_the_nominal_one_add_up_their_gradients() -> None:
    seen = Gradients()
    fit(task(2, train={"nominal_batch": 6}, callbacks=(seen,)))
    assert len(seen.updates) == 4  # seven images an epoch: 3 + 3, then what is left
    assert not seen.own
    for arrived, expected in seen.updates:
        torch.testing.assert_close(arrived, expected, rtol=1e-4, atol=1e-5)


def test_result_is_in_eval_mode_and_needs_no_gradients() -> None:
    model = fit(task(1)).model
    assert not model.training
    assert model.model[0].conv.weight.device.type == "cpu"
    assert not any(value.requires_grad for value in model.parameters())


def test_a_result_can_be_trained_on() -> None:
    once = fit(task(1)).model
    again = fit(replace(task(1), model=once)).model
    assert not torch.equal(again.model[0].conv.weight, once.model[0].conv.weight)


def penalty(model: Detector) -> SparsityPenalty:
    return SparsityPenalty(model, ["model.0.bn", "model.3.cv1.bn"], 0.05, "proximal", 0.1, 0.9)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("stop", [2, 3, 5, 11], ids=lambda s: f"step{s}")
def test_resumed_run_equals_uninterrupted_run(tmp_path: Path, optimizer: str, stop: int) -> None:
    start = tiny_detector()
    phase = task().phase.model_copy(update={"optimizer": optimizer})
    settings = task(train={"mixup": 0.5, "close_mosaic": 1}, model=start, phase=phase)
    whole = fit(replace(settings, callbacks=(penalty(start), Callback())))
    path = tmp_path / "x.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(replace(settings, checkpoint=path, callbacks=(penalty(start), Fuse(stop))))
    assert path.exists() == (stop > 3)
    again = penalty(start)
    resumed = fit(replace(settings, checkpoint=path, callbacks=(again, Callback())))
    assert_same_weights(resumed.model, whole.model)
    assert without_clock(resumed) == without_clock(whole)
    assert resumed.kept_epoch == whole.kept_epoch
    assert len(again.by_epoch) == 4


def test_training_interrupted_many_times_still_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = fit(task())
    for stop in (4, 2, 5, 1):
        with pytest.raises(KeyboardInterrupt):
            fit(task(checkpoint=tmp_path / "x.pt", callbacks=(Fuse(stop),)))
    resumed = fit(task(checkpoint=tmp_path / "x.pt", callbacks=(Callback(),)))
    assert_same_weights(resumed.model, whole.model)


@pytest.mark.parametrize("changed", ["optimizer", "sums", "model"])
def test_a_checkpoint_of_another_version_is_named_and_left(tmp_path: Path, changed: str) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(task(checkpoint=path, callbacks=(Fuse(5),)))
    saved = load_checkpoint(path)
    assert saved
    if changed == "optimizer":
        saved["optimizer"]["param_groups"][0]["params"].pop()
    elif changed == "sums":
        del saved["sums"]
    else:
        saved["model"].popitem()
    save_checkpoint(path, saved)
    before = path.read_bytes()
    with pytest.raises(TrainError, match=r"checkpoint .*x\.pt is of another training, .*delete the file, and this"):
        fit(task(checkpoint=path, callbacks=(Callback(),)))
    assert path.read_bytes() == before


def test_update_of_several_batches_is_never_cut_in_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.training.fit.SAVE_EVERY_S", 0)
    settings = task(train={"nominal_batch": 6}, checkpoint=tmp_path / "x.pt")
    with pytest.raises(KeyboardInterrupt):
        fit(replace(settings, callbacks=(Fuse(2),)))
    saved = torch.load(tmp_path / "x.pt", weights_only=True)
    assert (saved["epoch"], saved["step"]) == (0, 2)
    resumed = fit(replace(settings, callbacks=(Callback(),)))
    whole = fit(replace(settings, checkpoint=None))
    assert_same_weights(resumed.model, whole.model)
    assert without_clock(resumed) == without_clock(whole)


class Signal(Callback):
    """Sends a signal to this process in the middle of an epoch, as `kill` or Ctrl-C would."""

    def __init__(self, number: int, step: int) -> None:
        self.number, self.step = number, step

    def after_step(self, state: State) -> None:
        if state.step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.slow  # those run in the main thread, the only one that signals reach; pytest-xdist's may be another
@pytest.mark.parametrize(
    ("number", "code", "step", "place"),
    [
        (signal.SIGTERM, 143, 4, "after epoch 1 of 4 and step 2 of 3"),
        (signal.SIGINT, 130, 5, "after epoch 2 of 4;"),
    ],
)
def test_asked_to_stop_it_finishes_the_step_and_resumes_to_the_same_weights(
    tmp_path: Path, number: int, code: int, step: int, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = task(train={"mixup": 0.5}, checkpoint=tmp_path / "x.pt")
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"stopped {place}.* give the same command again") as stopped:
        fit(replace(settings, callbacks=(Signal(number, step),)))
    assert stopped.value.exit_code == code
    assert signal.getsignal(number) is before
    with caplog.at_level(logging.INFO):
        resumed = fit(replace(settings, callbacks=(Callback(),)))
    assert f"resuming {place.removesuffix(';')}" in caplog.text
    whole = fit(replace(settings, checkpoint=None))
    assert_same_weights(resumed.model, whole.model)
    assert without_clock(resumed) == without_clock(whole)


@pytest.mark.slow  # as above
def test_second_ctrl_c_does_not_wait() -> None:
    class Impatient(Callback):
        def after_step(self, state: State) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("the second one ends the step at once")

    with pytest.raises(KeyboardInterrupt):
        fit(task(callbacks=(Impatient(),)))


def test_long_epochs_are_saved_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.training.fit.SAVE_EVERY_S", 0)
    settings = task(checkpoint=tmp_path / "x.pt")
    with pytest.raises(KeyboardInterrupt):
        fit(replace(settings, callbacks=(Fuse(2),)))  # within the first epoch
    saved = torch.load(tmp_path / "x.pt", weights_only=True)
    assert (saved["epoch"], saved["step"]) == (0, 1)
    resumed = fit(replace(settings, callbacks=(Callback(),)))
    assert_same_weights(resumed.model, fit(task()).model)


def test_fp16_resumes_with_its_scaler(tmp_path: Path) -> None:
    settings = task(3, train={"precision": "fp16"}, checkpoint=tmp_path / "x.pt")
    with pytest.raises(KeyboardInterrupt):
        fit(replace(settings, callbacks=(Fuse(5),)))
    saved = torch.load(tmp_path / "x.pt", weights_only=True)
    assert saved["scaler"]["scale"] > 0
    resumed = fit(replace(settings, callbacks=(Callback(),)))
    whole = fit(replace(settings, checkpoint=None))
    assert_same_weights(resumed.model, whole.model)
    exact = fit(task(3))
    assert whole.history[-1]["loss"] == pytest.approx(exact.history[-1]["loss"], rel=0.05)


def test_changing_sizes_train(tmp_path: Path) -> None:
    result = fit(task(4, train={"multi_scale": 0.5, "resolutions": (64, 128), "image_weights": True}))
    assert all(math.isfinite(row["loss"]) for row in result.history)


@pytest.mark.slow
def test_run_killed_by_the_system_resumes_to_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    code = f"""
import torch; torch.set_num_threads(1)
from pathlib import Path
from tests.training.test_fit import Fuse, fit, task
fit(task(checkpoint=Path({str(path)!r}), callbacks=(Fuse(8, kill=True),)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]
    resumed = fit(task(checkpoint=path, callbacks=(Callback(),)))
    whole = fit(task())
    assert_same_weights(resumed.model, whole.model)
    assert without_clock(resumed) == without_clock(whole)


def test_a_training_that_was_done_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    first = fit(task(2, checkpoint=path, callbacks=(Callback(),)))
    again = fit(task(2, scripted([]), checkpoint=path, callbacks=(Fuse(1),)))  # neither validated nor stepped
    assert_same_weights(again.model, first.model)
    assert (again.kept_epoch, again.history) == (first.kept_epoch, first.history)


def test_broken_checkpoint_starts_from_the_beginning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 half a file")
    result = fit(task(2, checkpoint=tmp_path / "x.pt"))
    assert_same_weights(result.model, fit(task(2)).model)
    assert "training starts from the beginning" in caplog.text


def test_resuming_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(task(checkpoint=tmp_path / "x.pt", callbacks=(Fuse(8),)))
    with caplog.at_level(logging.INFO):
        fit(task(checkpoint=tmp_path / "x.pt", callbacks=(Callback(),)))
    assert "resuming after epoch 2 of 4" in caplog.text


def test_loss_that_is_not_finite_stops_with_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    message = r"not finite in epoch 2 \(box .*, obj nan, cls .*\) at learning rate .*; lower lr0 \(now 0.01\)"
    with pytest.raises(TrainError, match=message):
        fit(task(checkpoint=path, callbacks=(Poison(3),)))
    resumed = fit(task(checkpoint=path, callbacks=(Callback(),)))
    assert_same_weights(resumed.model, fit(task()).model)


@pytest.mark.parametrize("infinite", [True, False])
@pytest.mark.parametrize("at_hand", [("cpu",), ()], ids=["cpu", "as on a GPU"])
def test_gradient_that_is_not_finite_in_the_last_step_of_an_epoch_reaches_no_checkpoint(
    tmp_path: Path, infinite: bool, at_hand: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloslim.training.learner.AT_HAND", at_hand)
    path, seen = tmp_path / "x.pt", list[dict[str, Tensor]]()
    message = r"the gradient is not finite in epoch 2 \(box \d.*\) at learning rate .*; lower lr0 \(now 0.01\)"
    with pytest.raises(TrainError, match=message):
        fit(task(3, scripted([0.1, 0.2, 0.3], seen), checkpoint=path, callbacks=(BadGradient(5, infinite),)))
    assert len(seen) == 1
    saved = torch.load(path, weights_only=True)
    assert saved["epoch"] == 1
    assert all(value.isfinite().all() for value in saved["model"].values())


def test_full_memory_in_validation_names_its_batch() -> None:
    def validate(model: Detector) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory (fake)")

    with pytest.raises(TrainError, match=r"no memory left on cpu for validation; lower evaluation\.batch"):
        fit(task(1, validate))


def test_best_epoch_is_kept() -> None:
    seen: list[dict[str, Tensor]] = []
    result = fit(task(4, scripted([0.1, 0.3, 0.3, 0.2], seen)))
    assert result.kept_epoch == 2
    assert all(torch.equal(value, seen[1][name]) for name, value in result.model.state_dict().items())
    assert not all(torch.equal(value, seen[3][name]) for name, value in result.model.state_dict().items())


def test_last_epoch_is_kept_on_request() -> None:
    seen: list[dict[str, Tensor]] = []
    result = fit(task(3, scripted([0.5, 0.3, 0.2], seen), keep="last"))
    assert result.kept_epoch == 3
    assert all(torch.equal(value, seen[2][name]) for name, value in result.model.state_dict().items())


def test_training_without_any_hit_still_gives_a_model() -> None:
    assert fit(task(2, scripted([0.0, 0.0]))).kept_epoch == 1


def test_patience_ends_a_training_that_does_not_get_better(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = fit(task(9, scripted([0.1, 0.3, 0.2, 0.2, 0.4]), train={"patience": 2}))
    assert len(result.history) == 4
    assert result.kept_epoch == 2
    assert "no better val mAP50-95 for 2 epochs: stopped after epoch 4 of 9, epoch 2 is kept" in caplog.text


def test_patience_counts_from_the_last_better_epoch(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = fit(task(6, scripted([0.1, 0.1, 0.2, 0.2, 0.3, 0.1]), train={"patience": 2}))
    assert len(result.history) == 6
    assert "no better val" not in caplog.text


def test_patience_waits_for_a_validation() -> None:
    result = fit(task(6, scripted([0.1, 0.4]), train={"patience": 2, "val_every": 3}))
    assert len(result.history) == 6
    assert result.kept_epoch == 6


def test_training_that_keeps_its_last_epoch_has_no_patience_to_lose() -> None:
    result = fit(task(4, scripted([0.5, 0.1, 0.1, 0.1]), train={"patience": 1}, keep="last"))
    assert (len(result.history), result.kept_epoch) == (4, 4)


def test_epochs_between_validations_have_no_metrics_and_the_last_always_has() -> None:
    result = fit(task(5, scripted([0.2, 0.1, 0.3]), train={"val_every": 2}))
    assert [row.get("map50_95") for row in result.history] == [None, 0.2, None, 0.1, 0.3]


def test_callback_adds_columns_and_can_stop() -> None:
    class Advice(Callback):
        def after_epoch(self, state: State) -> dict[str, float]:
            if state.epoch == 1:
                raise TrainError("turn back")
            return {"mark": 7.0}

    with pytest.raises(TrainError, match="turn back"):
        fit(task(callbacks=(Advice(),)))
    assert fit(task(1, callbacks=(Advice(),))).history[0]["mark"] == 7.0


def test_bf16_trains_nearly_as_fp32_and_gives_fp32_weights() -> None:
    exact, rounded = fit(task(3)), fit(task(3, train={"precision": "bf16"}))
    assert rounded.history[-1]["loss"] == pytest.approx(exact.history[-1]["loss"], rel=0.05)
    assert all(p.dtype == torch.float32 for p in rounded.model.parameters())


def test_fewer_images_than_a_batch_still_train() -> None:
    assert len(fit(task(1, train_set=tiny_train_set(1))).history) == 1


def test_images_without_boxes_train() -> None:
    empty = tiny_train_set(3)
    result = fit(task(2, train_set=replace(empty, labels=torch.full_like(empty.labels, -1))))
    assert result.history[-1]["box_loss"] == 0
    assert result.history[-1]["obj_loss"] > 0
