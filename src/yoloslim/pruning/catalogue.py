"""What can be built, measured without weights: sizes, costs and prunable shares of all architectures."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from yoloslim.errors import YoloslimError
from yoloslim.files import read_json, user_cache, write_json
from yoloslim.models.detector import build_detector, count_macs, count_params
from yoloslim.models.spec import round_up
from yoloslim.models.zoo import family_of, model_names
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import candidate_groups

IMGSZ = 640
"""Image side in pixels that FLOPs are counted at."""


_ONE_FOR_ONE = frozenset(
    [F.batch_norm, F.silu, F.leaky_relu, F.mish, F.relu, F.relu6, F.hardswish, F.hardtanh, torch.sigmoid]
)
"""What gives as many values as it is given."""


@dataclass(frozen=True)
class ModelFacts:
    """One model.

    Attributes:
        name: for `model:` in params.yaml.
        source: where it comes from.
        params_m: millions of parameters, biases and BatchNorm scales and shifts included.
        gflops: 2 * MACs / 1e9 of the convolutions at 640 px.
        convolutions: how many layers multiply.
        strides: image pixels per cell, by head.
        prunable: share in [0, 1] of the channels of all BatchNorms that scope `free` may remove; `coupled` may all.
        units: residual units that can be removed whole.
    """

    name: str
    source: str
    params_m: float
    gflops: float
    convolutions: int
    strides: tuple[int, ...]
    prunable: float
    units: int


class _ShapesAlone(TorchFunctionMode):
    """Gives tensors without memory their shapes at once, where PyTorch goes through Python for each operation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _ONE_FOR_ONE and args[0].is_meta:
            return args[0] if kwargs.get("inplace") else torch.empty(args[0].shape, device="meta")
        if func is F.conv2d and args[0].is_meta and len(args) == 7:  # as nn.Conv2d calls it
            x, weight, _, stride, padding, dilation, _ = args
            sides = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
            shape = len(x), len(weight), *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides)
            return torch.empty(shape, device="meta")
        return func(*args, **kwargs)


def model_facts(name: str, classes: int = 80) -> ModelFacts:
    """Measure a model of so many classes; nothing is computed and no memory taken for weights.

    Raises:
        ModelError: no such model.
    """
    family = family_of(name)
    with torch.device("meta"):
        model = build_detector(name, tuple(map(str, range(classes))), round_up(IMGSZ, max(family.head.strides)))
    with _ShapesAlone():
        coupling, macs = find_coupling(model), count_macs(model, IMGSZ)
    channels = [group for path in coupling.batchnorms for group in coupling.layers[path].outputs]
    return ModelFacts(
        name=name,
        source=family.source,
        params_m=count_params(model) / 1e6,
        gflops=2e-9 * macs,
        convolutions=sum(isinstance(module, nn.Conv2d) for module in model.modules()),
        strides=family.head.strides,
        prunable=float(candidate_groups(coupling, "free")[channels].mean()),
        units=sum(unit.container is not None and unit.gate is not None for unit in coupling.units),
    )


def all_facts(classes: int, show: Callable[[list[str]], Iterable[str]]) -> list[ModelFacts]:
    """Facts of every model, kept on this machine until the code that they come from changes.

    Args:
        classes: that the heads tell apart.
        show: goes through the names and shows how far it is.
    """
    path = user_cache("models") / f"{_code_key()}-{classes}.json"
    with suppress(YoloslimError, TypeError, KeyError):  # not there, or not readable: measured again
        return [ModelFacts(**row | {"strides": tuple(row["strides"])}) for row in read_json(path)]
    found = [model_facts(name, classes) for name in show(model_names())]
    with suppress(YoloslimError):  # a home that cannot be written to costs time, no more
        write_json(path, [asdict(each) for each in found])
    return found


def _code_key() -> str:
    """A key that changes with PyTorch and with whatever makes or reads a network here."""
    package, key = Path(__file__).parents[1], hashlib.sha256(torch.__version__.encode())
    files = [path for part in ("models", "heads", "pruning") for path in (package / part).rglob("*")]
    for path in sorted([*files, package / "conv.py", package / "boxes.py"]):
        if path.suffix in (".py", ".yaml"):
            key.update(path.read_bytes())
    return key.hexdigest()[:16]
