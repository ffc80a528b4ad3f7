"""Numbers from a file that must be finite."""

import torch
from torch import Tensor

from yoloslim.errors import WeightsError


def finite(name: str, value: Tensor) -> Tensor:
    """The tensor as float32, sure to be finite; counters, which are integers, as they are.

    Half precision ends at 65,504: what passed it was stored as infinity, and every image would give NaN.

    Raises:
        WeightsError: naming the tensor; of integers where weights belong, complex, or not finite.
    """
    if not value.is_floating_point() and not name.endswith("num_batches_tracked"):
        raise WeightsError(f"tensor '{name}' holds {value.dtype}: a quantised model? Give one in floating point")
    value = value.float() if value.is_floating_point() else value
    bad = value.numel() - int(torch.isfinite(value).sum())
    if bad:
        raise WeightsError(
            f"tensor '{name}' holds {bad} values that are infinite or no number: they overflowed when it was written "
            f"in half precision, or training diverged; take a checkpoint in single precision"
        )
    return value
