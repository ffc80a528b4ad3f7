"""The fit loop: reads top to bottom, resumes after a kill at any moment to the same weights."""

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from yoloslim.config import PhaseParams, TrainParams
from yoloslim.data.augment import Augmentation, Augmenter
from yoloslim.data.trainset import TrainSet
from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector
from yoloslim.training.checkpoint import load_checkpoint, save_checkpoint
from yoloslim.training.loss import DetectionLoss, Gains
from yoloslim.training.optim import Ema, build_optimizer, set_learning_rates
from yoloslim.training.progress import Progress

logger = logging.getLogger(__name__)

Row = dict[str, float]
Validate = Callable[[Detector], Row]
"""Maps the averaged model to val metrics, with at least map50 and map50_95."""


@dataclass
class State:
    """What callbacks see: where training is, its models, and the step under way.

    Attributes:
        model: what is trained.
        ema: its moving average, which is what is measured and kept.
        epochs: how many there are.
        epoch: how many are over.
        step: how many steps are over, of all epochs.
        lr: learning rate of this step.
        history: a row an epoch.
        images: the batch of this step, (B, 3, S, S) in [0, 1], on the training device.
        targets: its boxes, as in `data.augment.Batch`.
        heads: what the model made of it, with gradients.
        autocast: the context in which the model computes, for whoever runs another network beside it.
    """

    model: Detector
    ema: Detector
    epochs: int
    epoch: int = 0
    step: int = 0
    lr: float = 0.0
    history: list[Row] = field(default_factory=list)
    images: Tensor = field(default_factory=lambda: torch.empty(0))
    targets: Tensor = field(default_factory=lambda: torch.empty(0, 6))
    heads: list[Tensor] = field(default_factory=list)
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext


class Callback:
    """Rides on the loop; every hook may be left as it is."""

    def start(self, state: State) -> None:
        """Called once before the first step, after a checkpoint has been restored."""

    def extra_loss(self, state: State) -> Tensor | None:
        """A term added to the loss of this step, like it summed over the images of the batch."""
        return None

    def after_step(self, state: State) -> None:
        """Called when the optimizer has stepped."""

    def after_epoch(self, state: State) -> Row:
        """Columns added to the epoch's row, which is the last of `state.history`.

        Raises:
            TrainError: to stop the training with advice.
        """
        return {}

    def saved(self) -> dict[str, Tensor]:
        """What must outlive a kill."""
        return {}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Take back what `saved` gave."""


@dataclass(frozen=True)
class Fit:
    """What came out: the averaged model that was kept, one row an epoch, and which epoch it is from."""

    model: Detector
    history: list[Row]
    kept_epoch: int


@dataclass(frozen=True)
class Task:
    """All that one training needs.

    Attributes:
        model: where it starts; left unchanged.
        train_set: images and boxes.
        validate: measures the averaged model after an epoch.
        train, phase, seed: sections of params.yaml.
        callbacks: see Callback.
        keep: the epoch with the best val mAP, or the last one.
        checkpoint: where to resume from; None keeps none. It stays when the training is over, for the caller to
            remove once the results are safe.
    """

    model: Detector
    train_set: TrainSet
    validate: Validate
    train: TrainParams
    phase: PhaseParams
    seed: int = 0
    callbacks: Sequence[Callback] = ()
    keep: Literal["best", "last"] = "best"
    checkpoint: Path | None = None


def fit(task: Task) -> Fit:
    """Train a model.

    A batch is a pure function of seed, epoch and step, and a checkpoint is written after every epoch; so a killed
    training that is run again ends in the very weights of an uninterrupted one (on the CPU bit for bit).

    Raises:
        TrainError: a non-finite loss (with its parts), or a callback's verdict.
    """
    run = _Run(task)
    run.resume()
    run.progress = Progress(run.state.epochs, run.state.epoch)
    for callback in task.callbacks:
        callback.start(run.state)
    while run.state.epoch < task.phase.epochs and not run.out_of_patience():
        run.epoch()
    run.ema.model.load_state_dict(run.kept["weights"])
    return Fit(run.state.ema.cpu(), run.state.history, int(run.kept["epoch"]))


def choose_device(name: str) -> torch.device:
    """The device that `train.device` names; `auto` takes CUDA when there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainError("train.device is cuda, but PyTorch finds no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(name: str, device: torch.device) -> str:
    """Fabric's name of the precision; `auto` takes bf16 where the hardware computes in it, else fp32 or fp16."""
    if name != "auto":
        return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[name]
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    flags = torch.backends.cpu.get_cpu_capability()
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if "AVX512" in flags and fast else "32-true"


class _Run:
    """The mutable side of `fit`."""

    def __init__(self, task: Task) -> None:
        self.task, t, phase = task, task.train, task.phase
        self.device = choose_device(t.device)
        self.fabric = Fabric(
            accelerator=self.device.type,
            devices=1,
            precision=choose_precision(t.precision, self.device),
        )
        if t.threads:
            torch.set_num_threads(t.threads)
        torch.manual_seed(task.seed)
        net = copy.deepcopy(task.model).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = build_optimizer(net, phase.optimizer, phase.lr0, phase.momentum, t.weight_decay)
        self.net, self.optimizer = self.fabric.setup(net, optimizer)
        self.ema = Ema(net, t.ema_decay, t.ema_tau)
        self.loss = DetectionLoss(net.spec, Gains(**_same_fields(Gains, t)), self.device)
        strengths = Augmentation(**_same_fields(Augmentation, t))
        self.augmenter = Augmenter(task.train_set, strengths, self.device)
        self.state = State(net, cast(Detector, self.ema.model), task.phase.epochs, autocast=self.fabric.autocast)
        self.steps_per_epoch = math.ceil(len(task.train_set) / t.batch)
        self.progress = Progress(task.phase.epochs)
        self.kept: dict[str, Any] = {"epoch": 0, "map50_95": -1.0, "weights": {}}

    def resume(self) -> None:
        saved = load_checkpoint(self.task.checkpoint) if self.task.checkpoint else None
        if saved is None:
            return
        self.state.model.load_state_dict(saved["model"])
        self.ema.model.load_state_dict(saved["ema"])
        self.ema.updates = saved["ema_updates"]
        self.optimizer.load_state_dict(saved["optimizer"])
        self.kept = saved["kept"]
        self.state.history = saved["history"]
        self.state.epoch = saved["epoch"]
        for callback, memory in zip(self.task.callbacks, saved["callbacks"], strict=True):
            callback.restore(memory)
        logger.info("resuming after epoch %d of %d", self.state.epoch, self.state.epochs)

    def out_of_patience(self) -> bool:
        """Only a validated epoch can disappoint; a training that keeps its last epoch waits for no better one."""
        patience, history = self.task.train.patience, self.state.history
        if not patience or self.task.keep == "last" or not history or "map50_95" not in history[-1]:
            return False
        return bool(self.state.epoch - self.kept["epoch"] >= patience)

    def epoch(self) -> None:
        """Train one epoch, validate, note a row, write a checkpoint."""
        state, start = self.state, time.perf_counter()
        self.state.model.train()
        parts = self._train_epoch()
        seconds = time.perf_counter() - start
        row: Row = {
            "epoch": state.epoch + 1,
            **parts,
            "lr": state.lr,
            "images_per_s": len(self.task.train_set) / seconds,
        }
        last = state.epoch + 1 == state.epochs
        if last or (state.epoch + 1) % self.task.train.val_every == 0:
            row |= self.task.validate(state.ema)
        state.history.append(row)
        for callback in self.task.callbacks:
            row |= callback.after_epoch(state)
        state.epoch += 1
        better = row.get("map50_95", -1.0) > self.kept["map50_95"]
        if better or (self.task.keep == "last" and last) or not self.kept["weights"]:
            weights = {k: v.clone() for k, v in self.ema.model.state_dict().items()}
            self.kept = {"epoch": state.epoch, "map50_95": row.get("map50_95", -1.0), "weights": weights}
        self.progress.epoch(row)
        if self.task.checkpoint:
            self._save(self.task.checkpoint)

    def _train_epoch(self) -> Row:
        task, state = self.task, self.state
        rng = torch.Generator().manual_seed(task.seed * 1_000_003 + state.epoch)
        order = torch.randperm(len(task.train_set), generator=rng)
        compose = state.epoch < state.epochs - task.train.close_mosaic
        total = torch.zeros(3, device=self.device)
        steps = torch.split(order, task.train.batch)
        for i, indices in enumerate(self.progress.steps(steps, state.epoch + 1)):
            state.step = state.epoch * self.steps_per_epoch + i
            state.lr = set_learning_rates(
                self.optimizer, task.phase, state.step, self.steps_per_epoch, task.train.schedule, task.phase.momentum
            )
            batch = self.augmenter.batch(indices, rng, compose)
            state.images, state.targets, state.heads = batch.images, batch.targets, self.net(batch.images)
            loss, parts = self.loss(state.heads, batch.targets)
            self._stop_if_not_finite(loss, parts)
            for callback in task.callbacks:
                extra = callback.extra_loss(state)
                loss = loss if extra is None else loss + extra
            self.optimizer.zero_grad()
            self.fabric.backward(loss)
            self.fabric.clip_gradients(self.net, self.optimizer, max_norm=10.0, error_if_nonfinite=False)
            self.optimizer.step()
            for callback in task.callbacks:
                callback.after_step(state)
            self.ema.update(state.model)
            total += parts * len(indices)
        box, obj, cls = (total / len(task.train_set)).tolist()
        return {"box_loss": box, "obj_loss": obj, "cls_loss": cls, "loss": box + obj + cls}

    def _stop_if_not_finite(self, loss: Tensor, parts: Tensor) -> None:
        if not torch.isfinite(loss):
            box, obj, cls = parts.tolist()
            raise TrainError(
                f"the loss is not finite in epoch {self.state.epoch + 1} (box {box:.4g}, obj {obj:.4g}, cls {cls:.4g}) "
                f"at learning rate {self.state.lr:.3g}; lower lr0 (now {self.task.phase.lr0}) or lengthen the warm-up"
            )

    def _save(self, path: Path) -> None:
        state = {
            "model": self.state.model.state_dict(),
            "ema": self.ema.model.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "kept": self.kept,
            "history": self.state.history,
            "epoch": self.state.epoch,
            "callbacks": [callback.saved() for callback in self.task.callbacks],
        }
        save_checkpoint(path, state)


def _same_fields(target: type, params: TrainParams) -> dict[str, Any]:
    return {name: getattr(params, name) for name in target.__dataclass_fields__}  # type: ignore[attr-defined]
