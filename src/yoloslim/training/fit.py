"""The fit loop: reads top to bottom, resumes after a kill at any moment to the same weights."""

import logging
import time
import traceback
from typing import Any, cast

import torch
from torch import Tensor

from yoloslim.cores import usable_cores
from yoloslim.data.trainset import on_device
from yoloslim.errors import Interrupted, TrainError, memory_ran_out
from yoloslim.evaluation.other_work import OtherWork, taken_away
from yoloslim.torch_threads import threads_kept
from yoloslim.training.batches import Batches, Step, largest_side
from yoloslim.training.callback import Callback, Row, State
from yoloslim.training.checkpoint import load_checkpoint, save_checkpoint
from yoloslim.training.interrupt import Stop, stop_on_signals
from yoloslim.training.launch import launch
from yoloslim.training.learner import SYNC_EVERY, Learner
from yoloslim.training.lost_processes import told_of_lost_processes
from yoloslim.training.memory import choose_batch, what_fits
from yoloslim.training.network import set_training
from yoloslim.training.progress import Progress
from yoloslim.training.task import Fit, Task, Validate

__all__ = ["Callback", "Fit", "Row", "State", "Task", "Validate", "fit"]

logger = logging.getLogger(__name__)

SAVE_EVERY_S = 300
"""Within an epoch a checkpoint is written this often, so that a kill never costs more."""


def fit(task: Task) -> Fit:
    """Train a model.

    A batch is a pure function of seed, epoch and step, and a checkpoint is written after every epoch; so a killed
    training that is run again ends in the very weights of an uninterrupted one (on the CPU bit for bit).

    Raises:
        TrainError: a non-finite loss (with its parts) or gradient, no memory (with a batch that fits), or a callback's
            verdict.
        Interrupted: SIGTERM or Ctrl-C; the step under way was finished and a checkpoint written.
    """
    with stop_on_signals() as stop, threads_kept(), told_of_lost_processes():
        run = _Run(task, stop)
        run.resume()
        run.progress = Progress(run.state.epochs, run.state.epoch)
        for callback in task.callbacks:
            callback.start(run.state)
        while run.state.epoch < task.phase.epochs and not run.out_of_patience():
            run.epoch()
        run.say_if_early()
    run.ema.model.load_state_dict(run.kept["weights"])
    return Fit(run.state.ema.cpu(), run.state.history, int(run.kept["epoch"]), run.fabric.is_global_zero)


class _Run:
    """The mutable side of `fit`."""

    def __init__(self, task: Task, stop: Stop) -> None:
        self.task, t, phase, self.stop = task, task.train, task.phase, stop
        self.fabric = launch(t)
        self.device, self.world = self.fabric.device, self.fabric.world_size
        torch.manual_seed(task.seed)
        self.learner = Learner(task, self.fabric)
        self.state, self.ema = self.learner.state, self.learner.ema
        self.progress = Progress(phase.epochs)
        self.kept: dict[str, Any] = {"epoch": 0, "map50_95": -1.0, "weights": {}}
        self.saved = load_checkpoint(task.checkpoint) if task.checkpoint else None
        self.batches = self._batches(self.saved["batch"] if self.saved else t.batch)
        self.state.steps = len(self.batches)
        self.first, self.saved_at = 0, time.monotonic()

    def _batches(self, batch: int) -> Batches:
        task, t = self.task, self.task.train
        images = on_device(task.train_set, self.device, t.memory_gb)  # first, since batches have what these leave
        if not batch:
            size = largest_side(t, task.model.spec)
            chosen = choose_batch(lambda n: self.learner.attempt(n, size), self.device, len(images), self.world)
            batch = self.fabric.broadcast(chosen)
        params = t.model_copy(update={"batch": batch})
        where = (self.device, self.fabric.global_rank, self.world)
        return Batches(images, params, task.phase.epochs, task.seed, task.model.spec, *where)

    def resume(self) -> None:
        """Take up what a checkpoint holds, if there is one."""
        saved, self.saved = self.saved, None
        if saved is None:
            return
        try:
            self._take_up(saved)
        except (KeyError, ValueError, RuntimeError) as error:  # what PyTorch says where names or shapes differ
            if memory_ran_out(error):
                raise
            path, why = self.task.checkpoint, str(error).splitlines()[0]
            raise TrainError(
                f"checkpoint {path} is of another training, or another version wrote it ({why}): go on with that "
                "version, or delete the file, and this training starts from the beginning"
            ) from error
        within = f" and step {self.first} of {len(self.batches)}" if self.first else ""
        logger.info("resuming after epoch %d of %d%s", self.state.epoch, self.state.epochs, within)

    def _take_up(self, saved: dict[str, Any]) -> None:
        self.state.model.load_state_dict(saved["model"])
        self.ema.model.load_state_dict(saved["ema"])
        self.ema.updates = saved["ema_updates"]
        self.learner.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["scaler"])
        self.kept = saved["kept"]
        self.state.history = saved["history"]
        self.state.epoch, self.first = saved["epoch"], saved["step"]
        self.learner.sums = saved["sums"].to(self.device)
        for callback, memory in zip(self.task.callbacks, saved["callbacks"], strict=True):
            callback.restore(memory)

    def out_of_patience(self) -> bool:
        """Only a validated epoch can disappoint; a training that keeps its last epoch waits for no better one."""
        patience, history = self.task.train.patience, self.state.history
        if not patience or self.task.keep == "last" or not history or "map50_95" not in history[-1]:
            return False
        return bool(self.state.epoch - self.kept["epoch"] >= patience)

    def say_if_early(self) -> None:
        """One line where a training is over before its time."""
        if self.state.epoch < self.state.epochs:
            epoch, kept = self.state.epoch, self.kept["epoch"]
            message = "no better val mAP50-95 for %d epochs: stopped after epoch %d of %d, epoch %d is kept"
            logger.info(message, epoch - kept, epoch, self.state.epochs, kept)

    def epoch(self) -> None:
        """Train one epoch, validate, note a row, write a checkpoint."""
        state, start = self.state, time.perf_counter()
        try:
            with OtherWork() as others:
                images = self._train()
        except (RuntimeError, MemoryError) as error:
            if not memory_ran_out(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
            raise self._no_memory() from error
        self.learner.stop_if_not_finite(self.learner.sums)
        seconds = time.perf_counter() - start
        losses, self.first = self.learner.take_means(), 0
        row: Row = {"epoch": state.epoch + 1, **losses, "lr": state.lr, "images_per_s": images / seconds}
        last = state.epoch + 1 == state.epochs
        if last or (state.epoch + 1) % self.task.train.val_every == 0:
            # one process measures, while the others wait
            row |= self.fabric.broadcast(self._validate() if self.fabric.is_global_zero else {})
        state.history.append(row)
        for callback in self.task.callbacks:
            row |= callback.after_epoch(state)
        state.epoch += 1
        self._keep(row, last)
        self.progress.epoch(row, self._missed(others.cores))
        self._save(0)
        if asked := self._agreed(self._asked())[0]:
            raise self._interrupted(asked, 0)

    def _train(self) -> int:
        """The steps of an epoch that are left; how many images they had."""
        images, epoch = 0, self.state.epoch
        set_training(self.state.model, self.task.train.freeze)
        self.learner.loss.start_epoch(epoch, self.state.epochs)
        steps = self.batches.epoch(epoch, self.first)
        if self.fabric.is_global_zero:  # one process speaks for all
            steps = self.progress.steps(steps, epoch + 1, len(self.batches) - self.first)
        if self.learner.profile:
            steps = self.learner.profile.steps(steps, whole=not self.first)
        for step in steps:
            self.learner.step(step)
            images += step.images
            self._save_within_epoch(step)
        return images

    def _missed(self, others: float) -> float:
        """Cores that the epoch would have used, had other programs not had them; a GPU is not asked."""
        if self.device.type != "cpu" or self.world > 1:
            return 0.0
        threads = self.learner.shares.threads if self.learner.shares else torch.get_num_threads()
        return taken_away(others, threads, usable_cores())

    def _validate(self) -> Row:
        try:
            with self.learner.part("validation"):
                return self.task.validate(self.state.ema)
        except (RuntimeError, MemoryError) as error:
            if not memory_ran_out(error):
                raise
            raise TrainError(f"no memory left on {self.device.type} for validation; lower evaluation.batch") from error

    def _keep(self, row: Row, last: bool) -> None:
        better = row.get("map50_95", -1.0) > self.kept["map50_95"]
        if better or (self.task.keep == "last" and last) or not self.kept["weights"]:
            weights = {k: v.clone() for k, v in self.ema.model.state_dict().items()}
            self.kept = {"epoch": self.state.epoch, "map50_95": row.get("map50_95", -1.0), "weights": weights}

    def _no_memory(self) -> TrainError:
        batch, size = min(self.batches.params.batch, self.batches.count), self.batches.largest_size(self.state.epoch)
        self.learner.optimizer.zero_grad()
        self.state.images, self.state.heads = torch.empty(0), []
        advice = what_fits(lambda n: self.learner.attempt(n, size), self.device, batch, self.world)
        return TrainError(f"no memory left on {self.device.type} for a batch of {batch} images of {size} px; {advice}")

    def _save_within_epoch(self, step: Step) -> None:
        """Write a checkpoint now and then, and when asked to stop, where no gradients wait for their update."""
        done = step.index + 1
        seldom = self.world > 1 and done // self.batches.per_update % SYNC_EVERY
        if not step.updates or done == len(self.batches) or seldom:
            return  # the epoch writes its own; and processes stop together, but asking each other costs time
        asked, overdue = self._agreed(self._asked(), time.monotonic() - self.saved_at > SAVE_EVERY_S)
        if asked or overdue:
            self.learner.stop_if_not_finite(self.learner.sums)
            if self.world > 1:  # the checkpoint is of one process, and all resume from it
                self.learner.sums = self.learner.total(self.learner.sums) / self.world
            self._save(done)
        if asked:
            raise self._interrupted(asked, done)

    def _asked(self) -> int:
        return self.stop.signal.value if self.stop.signal else 0

    def _agreed(self, *values: int) -> list[int]:
        """The largest of each value over all processes."""
        if self.world == 1:
            return list(values)
        found = self.fabric.all_reduce(torch.tensor(values, device=self.device), reduce_op="max")
        return cast(list[int], cast(Tensor, found).tolist())

    def _interrupted(self, number: int, done: int) -> Interrupted:
        within = f" and step {done} of {len(self.batches)}" if done else ""
        place = f"after epoch {self.state.epoch} of {self.state.epochs}{within}"
        return Interrupted(number, place, resumable=self.task.checkpoint is not None)

    def _save(self, step: int) -> None:
        """Write a checkpoint: `step` steps of the present epoch are done."""
        if self.task.checkpoint is None or not self.fabric.is_global_zero:
            return
        state = {
            "model": self.state.model.state_dict(),
            "ema": self.ema.model.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.learner.optimizer.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "kept": self.kept,
            "history": self.state.history,
            "epoch": self.state.epoch,
            "step": step,
            "sums": self.learner.sums,
            "batch": self.batches.params.batch,
            "callbacks": [callback.saved() for callback in self.task.callbacks],
        }
        save_checkpoint(self.task.checkpoint, state)
        self.saved_at = time.monotonic()
