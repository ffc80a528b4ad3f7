"""Tensors of a foreign file: the description in its pickle, checked against the bytes before anything is viewed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from yoloslim.errors import WeightsError
from yoloslim.models.foreign.records import Global, describe

DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "DoubleStorage": torch.float64,
        "FloatStorage": torch.float32,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ShortStorage": torch.int16,
        "CharStorage": torch.int8,
        "ByteStorage": torch.uint8,
        "BoolStorage": torch.uint8,
    }
)
"""Element type by the storage class that the pickle names. A boolean stays the byte it is stored as."""

MAX_DIMS = 8


@dataclass(frozen=True)
class StorageRef:
    """A run of numbers elsewhere in the file: its key, element type and length."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True, eq=False, repr=False)
class TensorRef:
    """A tensor as the pickle describes it: unchecked."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __repr__(self) -> str:
        return "<tensor>"

    def view(self, data: Tensor) -> Tensor:
        """The tensor as a view of its storage `data` (numel,).

        Raises:
            WeightsError: it would reach outside the storage, or repeat elements.
        """
        reach = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        empty = 0 in self.size
        if not empty and (reach >= len(data) or math.prod(self.size) > len(data)):
            raise WeightsError(
                f"a tensor of shape {describe(self.size)} reaches element {reach} of storage "
                f"'{self.storage.key}', which has {len(data)}"
            )
        return (
            torch.empty(self.size, dtype=data.dtype) if empty else data.as_strided(self.size, self.stride, self.offset)
        )


def storage_ref(identity: Any) -> Any:
    """Read a persistent id: a storage, or in old files the class of a module.

    Raises:
        WeightsError: it is neither.
    """
    match identity:
        case ("module", Global() as kind, *_):
            return kind
        case ("storage", Global() as kind, str(key), _, int(numel), *view) if view in ([], [None]) and numel >= 0:
            if kind.module in ("torch", "torch.cuda") and kind.name in DTYPES:
                return StorageRef(key, DTYPES[kind.name], numel)
            raise WeightsError(f"its storage '{key}' is of type {kind}, which is not read here")
    raise WeightsError(f"its pickle names something outside itself that is no storage: {describe(identity)}")


def tensor_ref(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRef:
    """Stand in for `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`.

    Raises:
        WeightsError: arguments that describe no tensor.
    """
    whole = isinstance(storage, StorageRef) and isinstance(size, tuple) and isinstance(stride, tuple)
    if (
        not whole
        or len(size) != len(stride)
        or len(size) > MAX_DIMS
        or not all(map(_is_size, (offset, *size, *stride)))
    ):
        raise WeightsError(
            f"a tensor with offset {describe(offset)}, shape {describe(size)}, stride {describe(stride)}"
        )
    return TensorRef(storage, offset, size, stride)


def parameter_ref(data: Any, *_: Any) -> TensorRef:
    """Stand in for `torch._utils._rebuild_parameter`.

    Raises:
        WeightsError: a parameter that is no tensor.
    """
    if not isinstance(data, TensorRef):
        raise WeightsError(f"a parameter made of {describe(data)}")
    return data


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**48


CALLS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "torch._utils._rebuild_tensor": tensor_ref,
        "torch._utils._rebuild_tensor_v2": tensor_ref,
        "torch._utils._rebuild_parameter": parameter_ref,
        "torch._utils._rebuild_parameter_with_state": parameter_ref,
        "torch.nn.parameter.Parameter": parameter_ref,
    }
)
"""The callables that rebuild tensors, and what stands in for them."""
