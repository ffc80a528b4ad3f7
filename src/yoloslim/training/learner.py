"""A step of a training: a batch forward, its loss, backward, and the weights moved; sums of what was lost."""

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from yoloslim.cores import thread_count
from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector
from yoloslim.training.batches import Step
from yoloslim.training.callback import Row, State
from yoloslim.training.memory import try_batch
from yoloslim.training.network import prepare
from yoloslim.training.optim import Ema, build_optimizer, set_learning_rates
from yoloslim.training.profile import SHARES, Profile
from yoloslim.training.shares import Shares, one_thread_an_operation
from yoloslim.training.task import Task

SYNC_EVERY = 16
"""Steps after which a GPU, or another process, is waited for to see what it has come to; a CPU has it at hand."""
AT_HAND = ("cpu",)
MAX_NORM = 10.0


class Learner:
    """The networks of a training with optimizer and loss: all that a batch goes through.

    Attributes:
        state: what callbacks see; the models and the step under way.
        sums: of the columns since the epoch began, and of the images.
    """

    def __init__(self, task: Task, fabric: Fabric) -> None:
        self.task, self.fabric, t, phase = task, fabric, task.train, task.phase
        self.device, self.world = fabric.device, fabric.world_size
        net = copy.deepcopy(task.model).to(self.device)
        if self.device.type == "cuda":  # the moving average in the layout of what it follows: one kernel moves all
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = Ema(net, t.ema_decay, t.ema_tau)
        prepare(net, t)
        self.scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
        rates = (phase.lr0, phase.momentum, t.weight_decay)
        optimizer = build_optimizer(net, phase.optimizer, *rates, fused=self.scaler is None)
        self.net, self.optimizer = fabric.setup(net, optimizer)
        self.loss = net.spec.loss(t, self.device, self.total if self.world > 1 else None)
        self.state = State(net, cast(Detector, self.ema.model), phase.epochs, autocast=fabric.autocast)
        terms = [name for callback in task.callbacks for name in callback.terms]
        self.columns = [f"{name}_loss" for name in (*self.loss.parts, *terms)]
        self.sums = torch.zeros(len(self.columns) + 1, device=self.device)  # and the images
        self.norms = torch.zeros((), device=self.device)  # sum of gradient norms: once not finite, never again
        self.shares: Shares | None = None
        if t.share and self.device.type == "cpu" and self.world == 1:
            self.shares = Shares(net, t.share, thread_count(t.threads, "train.threads"))
            one_thread_an_operation()  # here too: what is summed up must not depend on how many there are
        threads = self.shares.threads if self.shares else torch.get_num_threads()
        self.profile = Profile(task.profile, self.device, threads) if task.profile else None

    def step(self, step: Step) -> None:
        """Learn from a batch.

        Raises:
            TrainError: what was lost, or a gradient, is not finite.
        """
        state, phase = self.state, self.task.phase
        state.step = state.epoch * state.steps + step.index
        state.lr = set_learning_rates(
            self.optimizer, phase, state.step, state.steps, self.task.train.schedule, phase.momentum
        )
        state.images, state.targets = step.batch.images, step.batch.targets
        if self.shares:
            with self.part(SHARES):
                sums = self.shares.learn(state, self._learn)
        else:
            sums = self._learn(state, step.images)
        self.sums[:-1] += sums
        self.sums[-1] += step.images  # no tensor of it: a GPU would be waited for
        if step.updates:
            norm = self.fabric.clip_gradients(self.net, self.optimizer, max_norm=MAX_NORM, error_if_nonfinite=False)
            if self.scaler is None:  # a scaler skips steps whose gradients overflow
                self.norms += cast(Tensor, norm)
        if self.device.type in AT_HAND or step.index % SYNC_EVERY == 0:
            self.stop_if_not_finite(sums / step.images)
        if step.updates:
            with self.part("update"):
                self._update()

    def _learn(self, state: State, images: int | None = None) -> Tensor:
        """Forward, loss and backward of a state's images.

        Args:
            state: `heads` is filled in, gradients are left in `model`.
            images: of the whole batch, where other processes have the rest of it.

        Returns:
            Parts of the loss, and terms of callbacks, summed over the images (as `columns` names them).
        """
        with self.part("forward"):
            if state.model is self.state.model:
                state.heads = self.net(state.images)  # through what lets processes share gradients
            else:
                with state.autocast():
                    state.heads = state.model(state.images)
        with self.part("loss"):
            loss, parts = self.loss(state.heads, state.targets)
            sums = [parts * (images or len(state.images))]
            for callback in self.task.callbacks:
                extra = callback.extra_loss(state)
                if extra is not None:
                    loss = loss + extra.sum()
                    sums.append(extra.detach().reshape(-1)[: len(callback.terms)])
        with self.part("backward"):
            self.fabric.backward(loss * self.world)  # DDP takes the mean over processes; the loss is a sum
        return torch.cat(sums)

    def part(self, name: str) -> AbstractContextManager[None]:
        """Where a profile counts the time of a part of a step."""
        return self.profile.part(name) if self.profile else nullcontext()

    def _update(self) -> None:
        """Gradients to weights: let callbacks add theirs, step, average."""
        for callback in self.task.callbacks:
            callback.before_step(self.state)
        before = self.scaler.get_scale() if self.scaler else 0.0
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.scaler and self.scaler.get_scale() < before:
            return  # fp16 overflowed: the scaler has skipped the step, and so must all that follows one
        for callback in self.task.callbacks:
            callback.after_step(self.state)
        self.ema.update(self.state.model)

    def take_means(self) -> Row:
        """Losses an image since the epoch began, over all processes; the sums begin anew."""
        *sums, images = self.total(self.sums).tolist() if self.world > 1 else self.sums.tolist()
        means = [value / images * self.world for value in sums]  # every process has counted all images
        self.sums = torch.zeros_like(self.sums)
        return dict(zip(self.columns, means, strict=True)) | {"loss": sum(means[: len(self.loss.parts)])}

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        return cast(Tensor, self.fabric.all_reduce(value, reduce_op="sum"))

    def stop_if_not_finite(self, parts: Tensor) -> None:
        """Raise a TrainError where a loss (of these parts) or a gradient since the beginning is not finite."""
        if not torch.isfinite(parts).all() & torch.isfinite(self.norms):
            what = "gradient" if torch.isfinite(parts).all() else "loss"
            terms = zip(self.loss.parts, parts.tolist(), strict=False)  # sums of an epoch end with the images
            said = ", ".join(f"{name} {value:.4g}" for name, value in terms)
            raise TrainError(
                f"the {what} is not finite in epoch {self.state.epoch + 1} ({said}) at learning rate "
                f"{self.state.lr:.3g}; lower lr0 (now {self.task.phase.lr0}) or lengthen the warm-up"
            )

    def attempt(self, images: int, size: int) -> None:
        """See whether so many blank images of a side in px find memory; leaves no trace."""
        beside = [network for callback in self.task.callbacks for network in callback.beside()]
        try_batch(self.state.model, self.fabric.autocast, images, size, beside)
