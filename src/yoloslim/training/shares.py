"""A batch on a CPU in shares of a few images, each computed by one thread.

Two threads that share every operation wait for each other at every operation, most of all when another program has one
of the cores; two that share the images of a batch meet once a step. And since each share is computed by one thread and
gradients are added up in the order of the shares, the weights are the same, bit for bit, for any number of threads.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import cv2
import torch
from torch import Tensor

from yoloslim.models.detector import Detector
from yoloslim.training.callback import State

Learn = Callable[[State], Tensor]
"""Forward, loss and backward of a share: its gradients are left in `state.model`, its sums are given back."""


def share_sizes(images: int, share: int) -> list[int]:
    """How many images each share of a batch has: as few shares of at most `share` as there can be, of equal size."""
    count = max(1, -(-images // share))
    return [images // count + (index < images % count) for index in range(count)]


class Shares:
    """Copies of a network that have its weights in common, each with gradients and statistics of its own.

    BatchNorm sees the images of a share. Its running statistics move by the mean of what the shares would have made of
    them, each counted by its images.
    """

    def __init__(self, model: Detector, share: int, threads: int) -> None:
        """Take a network.

        Args:
            model: what is trained, on the CPU. Its hooks are copied at the first batch.
            share: images of a share at most, at least 1.
            threads: how many shares are computed at a time.
        """
        self.share, self.threads = share, threads
        self._whole, self._parts = _Tensors(model), list[_Tensors]()
        self._pool = ThreadPoolExecutor(threads, "share", initializer=one_thread_an_operation)

    def learn(self, state: State, learn: Learn) -> Tensor:
        """Compute a batch: gradients are added to those of the network, its running statistics move.

        Args:
            state: the step under way, with the whole batch.
            learn: see Learn; called from several threads at once, with a state of the share's own.

        Returns:
            The sum of what `learn` gave, in the order of the shares.
        """
        states = self._split(state)
        due = [self._pool.submit(learn, each) for each in states]
        wait(due)  # an error must not leave threads at work on weights that others go on to use
        parts = self._parts[: len(states)]
        sums = torch.stack([future.result() for future in due]).sum(0)
        for part in parts:
            self._whole.add_gradients(part)
        self._whole.add_mean_moves(parts, [len(each.images) / len(state.images) for each in states])
        return sums

    def _split(self, state: State) -> list[State]:
        sizes = share_sizes(len(state.images), self.share)
        self._parts += [_Tensors(copy.deepcopy(self._whole.model)) for _ in range(len(sizes) - len(self._parts))]
        states, first = [], 0
        for size, part in zip(sizes, self._parts, strict=False):
            part.follow(self._whole)
            mine = (state.targets[:, 0] >= first) & (state.targets[:, 0] < first + size)
            targets = state.targets[mine] - state.targets.new_tensor([first, 0, 0, 0, 0, 0])
            images = state.images[first : first + size]
            states.append(replace(state, model=part.model, images=images, targets=targets))
            first += size
        return states


class _Tensors:
    """A network, and what it is made of: listing that takes longer than the work on it."""

    def __init__(self, model: Detector) -> None:
        self.model, self.modules, self.weights = model, list(model.modules()), list(model.parameters())
        self.statistics = [value for value in model.buffers() if value.dtype.is_floating_point]
        self.counts = [value for value in model.buffers() if not value.dtype.is_floating_point]

    def follow(self, whole: "_Tensors") -> None:
        """Take over weights (without a copy), statistics and modes."""
        for mine, theirs in zip(self.weights, whole.weights, strict=True):
            mine.data, mine.grad = theirs.data, None
        for own, other in zip(self.modules, whole.modules, strict=True):
            own.training = other.training
        for pair in ((self.statistics, whole.statistics), (self.counts, whole.counts)):
            if pair[0]:
                torch._foreach_copy_(*pair)

    def add_gradients(self, part: "_Tensors") -> None:
        """Add a share's gradients to these, and let it go."""
        have: list[Tensor] = []
        more: list[Tensor] = []
        for mine, theirs in zip(self.weights, part.weights, strict=True):
            if theirs.grad is None:
                continue
            if mine.grad is None:
                mine.grad = theirs.grad
            else:
                have.append(mine.grad)
                more.append(theirs.grad)
            theirs.grad = None
        if have:
            torch._foreach_add_(have, more)

    @torch.no_grad()
    def add_mean_moves(self, parts: Sequence["_Tensors"], weights: Sequence[float]) -> None:
        """Move statistics by the weighted mean of the shares' moves; what no share has changed stays, bit for bit."""
        if self.counts:
            torch._foreach_copy_(self.counts, parts[0].counts)  # of steps, the same for all
        if not self.statistics:
            return
        start = [value.clone() for value in self.statistics]
        for part, weight in zip(parts, weights, strict=True):
            torch._foreach_sub_(part.statistics, start)
            torch._foreach_add_(self.statistics, part.statistics, alpha=weight)


def one_thread_an_operation() -> None:
    """Let PyTorch and OpenCV compute with the calling thread alone."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
