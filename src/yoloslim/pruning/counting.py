"""Parameters and multiply-adds of a network after a selection, without cutting it."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from torch import nn

from yoloslim.pruning.coupling import BoolArray, Coupling, LayerGroups
from yoloslim.pruning.union import FILTERS

CUBE = 16
"""Channels an Ascend cube unit computes at once at fp16 (C0); fewer cost as much."""


@dataclass(frozen=True)
class LayerCount:
    """One layer after a selection.

    Attributes:
        path: module path.
        kind: as in `LayerGroups`.
        kept: output channels left.
        total: output channels before.
        params: trainable values left.
        macs: multiply-adds left, for one image.
        macs_padded: the same with channels padded to multiples of 16.
    """

    path: str
    kind: str
    kept: int
    total: int
    params: int
    macs: int
    macs_padded: int


class Counter:
    """Counts what a selection leaves; built once per network, since searches ask many times."""

    def __init__(self, model: nn.Module, coupling: Coupling, imgsz: int | None = 640) -> None:
        self.coupling = coupling
        self.pixels = coupling.example.pixels if imgsz is None else imgsz * imgsz
        self.direct = list(coupling.parameters.values())
        self.rest = 0
        self.modules = {path: model.get_submodule(path) for path in coupling.layers}

        everything = np.ones(coupling.groups, np.bool_)
        self.rest = sum(p.numel() for p in model.parameters()) - self.params(everything)

    def layers(self, keep: BoolArray) -> list[LayerCount]:
        """Every layer, given (groups,) which groups stay."""
        return [self._count(layer, keep) for layer in self.coupling.layers.values()]

    def params(self, keep: BoolArray) -> int:
        """Trainable values in all."""
        own = (p.size if p.axis is None else p.size // len(p.outputs) * int(keep[p.outputs].sum()) for p in self.direct)
        return sum(layer.params for layer in self.layers(keep)) + sum(own) + self.rest

    def macs(self, keep: BoolArray) -> int:
        """Multiply-adds in all, for one image."""
        return sum(layer.macs for layer in self.layers(keep))

    def _count(self, layer: LayerGroups, keep: BoolArray) -> LayerCount:
        return self.count(layer.path, int(keep[layer.inputs].sum()), int(keep[layer.outputs].sum()))

    def count(self, path: str, c_in: int, kept: int) -> LayerCount:
        """One layer by its widths: channels that it reads, and those that it gives."""
        layer, module = self.coupling.layers[path], self.modules[path]
        total = len(layer.outputs)
        has_bias = getattr(module, "bias", None) is not None
        if layer.kind == "part":
            return LayerCount(layer.path, layer.kind, kept, total, 0, 0, 0)
        if layer.kind == "embedding":
            values = kept * cast(nn.Embedding, module).num_embeddings
            return LayerCount(layer.path, layer.kind, kept, total, values, 0, 0)
        if layer.kind not in FILTERS:
            values = kept * ((getattr(module, "weight", None) is not None) + has_bias)
            return LayerCount(layer.path, layer.kind, kept, total, values, 0, 0)
        groups = {"depthwise": c_in, "grouped": getattr(module, "groups", 1)}.get(layer.kind, 1)
        kernel = int(np.prod(cast(nn.Conv2d, module).weight.shape[2:]))
        positions = layer.positions * self.pixels
        weights = kept * (c_in // groups) * kernel
        padded = _pad(kept) * kernel * (1 if layer.kind == "depthwise" else groups * _pad(c_in // groups) // groups)
        return LayerCount(
            layer.path,
            layer.kind,
            kept,
            total,
            weights + kept * has_bias,
            round(weights * positions),
            round(padded * positions),
        )


def _pad(channels: int) -> int:
    return -(-channels // CUBE) * CUBE
