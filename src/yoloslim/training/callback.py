"""What rides on the training loop: sparsity, distillation, previews."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from yoloslim.models.detector import Detector

Row = dict[str, float]


@dataclass
class State:
    """What callbacks see: where training is, its models, and the step under way.

    Attributes:
        model: what is trained.
        ema: its moving average, which is what is measured and kept.
        epochs: how many there are.
        steps: how many an epoch has.
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
    steps: int = 0
    epoch: int = 0
    step: int = 0
    lr: float = 0.0
    history: list[Row] = field(default_factory=list)
    images: Tensor = field(default_factory=lambda: torch.empty(0))
    targets: Tensor = field(default_factory=lambda: torch.empty(0, 6))
    heads: list[Tensor] = field(default_factory=list)
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext


class Callback:
    """Rides on the loop; every hook may be left as it is.

    Attributes:
        terms: names of what `extra_loss` gives; each becomes a column `<name>_loss` of the epoch's row,
            a mean over images.
    """

    terms: tuple[str, ...] = ()

    def beside(self) -> Sequence[Detector]:
        """Networks that see every batch as well, without gradients: they take memory too."""
        return ()

    def start(self, state: State) -> None:
        """Called once before the first step, after a checkpoint has been restored."""

    def extra_loss(self, state: State) -> Tensor | None:
        """Terms added to the loss of this step, (len(terms),), like it summed over the images.

        Where a batch is computed in shares, it is called for each, from several threads at once, with a state of its
        own.
        """
        return None

    def before_step(self, state: State) -> None:
        """Called when gradients are complete: summed over devices, unscaled and clipped."""

    def after_step(self, state: State) -> None:
        """Called when the optimizer has stepped."""

    def after_epoch(self, state: State) -> Row:
        """Columns added to the epoch's row, which is the last of `state.history`.

        Raises:
            TrainError: to stop the training with advice.
        """
        return {}

    def saved(self) -> dict[str, Tensor]:
        """What must outlive a kill; asked for after any step."""
        return {}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Take back what `saved` gave."""
