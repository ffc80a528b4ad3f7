"""Example inputs of a network: any number of tensors, by position or by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from yoloslim.errors import PruneError

Example = Tensor | Sequence[Any] | Mapping[str, Any]
"""One tensor, the positional arguments of a network, or its arguments by name; or the shape of one tensor."""


@dataclass(frozen=True)
class Inputs:
    """Arguments of a network.

    Attributes:
        args: those by position; tensors, or what the network takes besides.
        kwargs: those by name.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, example: "Example | Inputs") -> "Inputs":
        """Arguments as people give them.

        Raises:
            PruneError: there is no tensor, or one is empty or holds NaN.
        """
        if isinstance(example, Inputs):
            return example
        if isinstance(example, Sequence) and example and all(type(n) is int for n in example):
            example = torch.rand(tuple(example), generator=torch.Generator().manual_seed(0))
        if isinstance(example, Mapping):
            inputs = cls((), dict(example))
        else:
            inputs = cls((example,) if isinstance(example, Tensor) else tuple(example), {})
        if not inputs.tensors:
            raise PruneError(
                "example_inputs holds no tensor; give what the network's forward takes (`torch.from_numpy` makes a "
                "tensor of an array)"
            )
        for number, x in enumerate(inputs.tensors):
            if x.numel() == 0 or x.dim() == 0:
                raise PruneError(f"example_inputs: tensor {number} has shape {tuple(x.shape)}, which holds no batch")
            if x.is_floating_point() and not bool(torch.isfinite(x).all()):
                raise PruneError(f"example_inputs holds NaN or infinite values (tensor {number})")
        return inputs

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, in order."""
        return list(tensors_in((self.args, self.kwargs)))

    @property
    def pixels(self) -> int:
        """Positions of the first input (N, C, ...): the product of its axes after the second."""
        return int(torch.Size(self.tensors[0].shape[2:]).numel())

    def map(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        """The same arguments with each tensor changed."""
        return Inputs(_map(self.args, change), _map(self.kwargs, change))

    def call(self, model: nn.Module) -> Any:
        """What a network gives for them."""
        return model(*self.args, **self.kwargs)

    def at_least_two(self) -> "Inputs":
        """With a batch of two where all tensors hold one: it tells the batch from other axes of size one."""
        if any(len(x) != 1 for x in self.tensors):
            return self
        return self.map(lambda x: torch.cat((x, x)))

    def random(self, seed: int) -> "Inputs":
        """Other values of the same shapes, two at least: uniform in [0, 1); whole numbers between those there are."""
        generator = torch.Generator().manual_seed(seed)

        def draw(x: Tensor) -> Tensor:
            if x.is_floating_point():
                return torch.rand(x.shape, generator=generator).double()
            if x.dtype == torch.bool or x.is_complex():
                return x.cpu()
            low, high = int(x.min()), int(x.max())
            return torch.randint(low, high + 1, x.shape, generator=generator, dtype=x.dtype)

        return self.at_least_two().map(draw)


def to_double(x: Tensor) -> Tensor:
    """On the CPU, and in float64 if it holds fractions."""
    return x.cpu().double() if x.is_floating_point() else x.cpu()


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors inside nested tuples, lists, dicts and data classes, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(_map(item, change) for item in value)
    return {key: _map(item, change) for key, item in value.items()} if type(value) is dict else value
