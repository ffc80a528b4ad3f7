"""Darknet `.weights`: a header, then 32-bit floats of one convolution after the other, in the order of the cfg.

A convolution with batch normalisation holds beta, gamma, mean, variance and weights; one without, bias and weights.
The header is major, minor, revision as 32-bit integers and the images seen: 64 bits from version 0.2 on, 32 before.
Source of the format: `save_weights` and `load_weights` in Darknet's `parser.c`.
"""

import logging
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yoloslim.conv import Conv
from yoloslim.errors import WeightsError
from yoloslim.files import atomic_path
from yoloslim.heads import AnchorHead
from yoloslim.heads.anchor_network import Detect
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.finite import finite

logger = logging.getLogger(__name__)

BLOCKS = frozenset(
    "Conv BiasConv Residual MaxPool Upsample Concat Add Mul Slice GlobalPool Reorg FlatReorg Detect".split()  # noqa: SIM905
)
"""Layers that Darknet has too."""

PRETRAINED = re.compile(r"\.conv\.\d+$")
"""How pre-trained files that end early are named: `darknet53.conv.74` holds the first 74 layers."""

MAX_FLOATS = 500_000_000
"""Twice the largest public detector; a cfg could otherwise ask for any amount of memory."""

Floats = NDArray[np.float32]
Filter = tuple[str, nn.Conv2d, nn.BatchNorm2d | None]


def filters(model: Detector) -> Iterator[Filter]:
    """Convolutions with their paths and BatchNorms, in Darknet's order: those of Detect right behind what they read.

    Raises:
        WeightsError: a layer that Darknet does not have.
    """
    layers = model.spec.layers
    strange = sorted({layer.block for layer in layers} - BLOCKS)
    if strange:
        raise WeightsError(f"{model.spec.name} has layers that Darknet does not know: {', '.join(strange)}")
    if not isinstance(model.spec.head, AnchorHead):
        raise WeightsError(f"{model.spec.name} has a {model.spec.head.kind} head; Darknet knows anchor heads only")
    head = cast(Detect, model.model[-1])
    for index, layer in enumerate(model.model[:-1]):
        for name, module in layer.named_modules():
            if isinstance(module, Conv):
                norm = module.bn if isinstance(module.bn, nn.BatchNorm2d) else None
                yield ".".join(filter(None, ("model", str(index), name))), module.conv, norm
        for level in head_levels(model, index):
            yield f"model.{len(layers) - 1}.m.{level}", cast(nn.Conv2d, head.m[level]), None


def head_levels(model: Detector, index: int) -> list[int]:
    """Levels whose convolution reads layer `index`."""
    last = len(model.spec.layers) - 1
    return [level for level, source in enumerate(model.spec.layers[-1].inputs) if source % last == index]


def count_floats(model: Detector) -> int:
    """Floats that a `.weights` file of this network holds after its header."""
    return sum(_floats(conv, norm) for _, conv, norm in filters(model))


def read_floats(path: Path) -> Floats:
    """The floats behind the header of a file.

    Raises:
        WeightsError: no such file, or it ends within a float; without the path.
    """
    data = path.read_bytes()
    return np.frombuffer(data, "<f4", offset=_header_bytes(data)).astype(np.float32, copy=False)


def check_count(model: Detector, values: Floats, partial: bool) -> None:
    """Make sure that so many floats belong to this network, which may be on the meta device.

    Args:
        model: built for the cfg that the file belongs to.
        values: all floats of the file.
        partial: whether they may end after any convolution.

    Raises:
        WeightsError: floats are missing or left over, and how many; or the network is absurdly large.
    """
    wanted, found = count_floats(model), len(values)
    network = f"{model.spec.name} with {model.spec.nc} classes"
    if wanted > MAX_FLOATS:
        raise WeightsError(f"{network} needs {wanted:,} floats; networks of more than {MAX_FLOATS:,} are refused")
    if found > wanted:
        raise WeightsError(
            f"it holds {found:,} floats, {found - wanted:,} more than the {wanted:,} of {network}; "
            f"is it of another cfg, or of another number of classes?"
        )
    if found < wanted and not partial:
        raise WeightsError(
            f"{wanted - found:,} floats are missing: it holds {found:,} of the {wanted:,} of {network}; "
            f"it was cut short, or is of another cfg, or of another number of classes"
        )


def fill(model: Detector, values: Floats, name: str) -> None:
    """Put floats into a network, in place; where they end early, the layers after that keep what they have.

    Args:
        model: the network that `check_count` allowed.
        values: all floats of the file.
        name: of the file, for the log.

    Raises:
        WeightsError: they end inside a convolution, or some are not finite.
    """
    start, done, last, total = 0, 0, "none", 0
    for path, conv, norm in filters(model):
        size, total = _floats(conv, norm), total + 1
        if start == len(values):
            continue
        if start + size > len(values):
            raise WeightsError(f"it ends inside {path}: {start + size - len(values):,} floats of that are missing")
        _fill(path, conv, norm, torch.from_numpy(values[start : start + size].copy()))
        start, done, last = start + size, done + 1, path
    if done < total:
        logger.info("%s: loaded the first %d of %d convolutions, up to %s; the rest is fresh", name, done, total, last)


def save_weights(model: Detector, path: Path) -> None:
    """Write a network of Darknet's layers; biases before a BatchNorm go into its mean, as Darknet has none there.

    Raises:
        WeightsError: a layer that Darknet does not have.
    """
    parts = [_flatten(conv, norm) for _, conv, norm in filters(model)]
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(struct.pack("<iiiq", 0, 2, 5, 0))  # no images seen, so that Darknet trains from the start
        for part in parts:
            stream.write(part.numpy().astype("<f4").tobytes())


def _header_bytes(data: bytes) -> int:
    if len(data) < 16:
        raise WeightsError(f"it has {len(data)} bytes, too few for the header of a .weights file")
    major, minor, _ = struct.unpack_from("<iii", data)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise WeightsError(f"it does not begin like a .weights file: version {major}.{minor}")
    header = 20 if major * 10 + minor >= 2 else 16
    if len(data) < header or (len(data) - header) % 4:
        raise WeightsError(f"it was cut short: {(len(data) - header) % 4} bytes stand behind the last whole float")
    return header


def _floats(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> int:
    return conv.out_channels * (4 if norm else 1) + conv.weight.numel()


def _fill(name: str, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, values: Tensor) -> None:
    finite(name, values)
    targets = [conv.bias] if norm is None else [norm.bias, norm.weight, norm.running_mean, norm.running_var]
    with torch.no_grad():
        for target in (*targets, conv.weight):
            assert target is not None
            target.copy_(values[: target.numel()].view_as(target))
            values = values[target.numel() :]


def _flatten(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> Tensor:
    if norm is None:
        parts = [cast(Tensor, conv.bias), conv.weight]
    else:
        mean = cast(Tensor, norm.running_mean)
        mean = mean if conv.bias is None else mean - conv.bias
        parts = [norm.bias, norm.weight, mean, cast(Tensor, norm.running_var), conv.weight]
    return torch.cat([part.detach().flatten() for part in parts]).cpu()
