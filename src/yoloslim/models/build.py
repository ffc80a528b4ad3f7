"""From layer descriptions to modules: the blocks that architectures may name."""

import difflib
from collections.abc import Callable, Sequence

from torch import nn

from yoloslim.choices import Activation
from yoloslim.conv import Conv
from yoloslim.errors import ModelError
from yoloslim.models import blocks, lite_blocks, split_blocks
from yoloslim.models.spec import MAX_BESIDE, LayerSpec, ModelSpec, Units

Maker = Callable[[LayerSpec, list[int], int], nn.Module]
"""Makes a block from its layer, the channels of what it reads, and the channels it is to give."""


def _conv(layer: LayerSpec, c_in: list[int], c_out: int, norm: bool) -> nn.Module:
    numbers = layer.kernel or 1, layer.stride or 1, layer.padding
    return Conv(c_in[0], c_out, *numbers, _act(layer), layer.groups or 1, norm)


def _residual(layer: LayerSpec, c_in: list[int], c_out: int) -> nn.Module:
    units = (blocks.Bottleneck(c_out, True, layer.hidden, _act(layer)) for _ in range(layer.repeats or 1))
    return nn.Sequential(*units)


def _shuffle(layer: LayerSpec, c_in: list[int], c_out: int) -> nn.Module:
    units = [lite_blocks.ShuffleUnit(c_in[0], c_out, layer.stride or 1) for _ in range(layer.repeats or 1)]
    return nn.Sequential(*units) if len(units) > 1 else units[0]  # as the public checkpoints have it


def _c2f(layer: LayerSpec, c_in: list[int], c_out: int) -> nn.Module:
    add = layer.shortcut is not False
    units: dict[Units | None, split_blocks.Unit] = {
        None: lambda c: blocks.Bottleneck(c, add, kernel=3),
        "half": lambda c: blocks.Bottleneck(c, add, c // 2, kernel=3),
        "nested": lambda c: split_blocks.C3k(c, add),
        "attention": split_blocks.attention_unit,
    }
    unit = units[None if layer.units == "bottleneck" else layer.units]
    return split_blocks.C2f(c_in[0], c_out, layer.repeats or 1, unit, layer.share or 0.5)


def _act(layer: LayerSpec) -> Activation:
    return layer.activation or "silu"


BLOCKS: dict[str, Maker] = {
    "Conv": lambda la, c, out: _conv(la, c, out, norm=True),
    "BiasConv": lambda la, c, out: _conv(la, c, out, norm=False),
    "Residual": _residual,
    "C3": lambda la, c, out: blocks.C3(c[0], out, la.repeats or 1, la.shortcut is not False),
    "Focus": lambda la, c, out: blocks.Focus(c[0], out, la.kernel or 1),
    "SPP": lambda la, c, out: blocks.SPP(c[0], out, la.kernels or (5, 9, 13)),
    "SPPF": lambda la, c, out: blocks.SPPF(c[0], out, la.kernel or 5, _act(la), bool(la.shortcut)),
    "C2f": _c2f,
    "C3k2": _c2f,
    "C2PSA": lambda la, c, out: split_blocks.C2PSA(out, la.repeats or 1),
    "MaxPool": lambda la, c, out: blocks.MaxPool(la.kernel or 2, la.stride or 1),
    "Upsample": lambda la, c, out: nn.Upsample(scale_factor=2, mode="nearest"),
    "Concat": lambda la, c, out: blocks.Concat(),
    "Add": lambda la, c, out: blocks.Add(la.activation or "linear"),
    "Mul": lambda la, c, out: blocks.Mul(),
    "GlobalPool": lambda la, c, out: blocks.GlobalPool(),
    "Reorg": lambda la, c, out: blocks.Reorg(),
    "FlatReorg": lambda la, c, out: blocks.FlatReorg(),
    "Slice": lambda la, c, out: blocks.Slice(la.groups or 2),
    "PooledStem": lambda la, c, out: lite_blocks.PooledStem(c[0], out),
    "Shuffle": _shuffle,
    "SeparableConv": lambda la, c, out: lite_blocks.SeparableConv(c[0], out, la.kernel or 3, la.stride or 1),
    "LCUnit": lambda la, c, out: lite_blocks.LCUnit(c[0], out, la.kernel or 3, la.stride or 1, bool(la.attention)),
    "Dense": lambda la, c, out: lite_blocks.Dense(c[0], out),
    "RepConv": lambda la, c, out: lite_blocks.RepConv(c[0], out, la.stride or 1),
}
NEEDS_CHANNELS = frozenset(BLOCKS) - frozenset(
    ["Residual", "MaxPool", "Upsample", "Concat", "Add", "Mul", "Slice", "GlobalPool", "Reorg", "FlatReorg"]
)


def build_layers(spec: ModelSpec) -> list[nn.Module]:
    """The modules of a model before pruning, in order; the last is its head.

    Raises:
        ModelError: a block that does not exist, or numbers that do not fit together; names the layer.
    """
    modules: list[nn.Module] = []
    widths: list[int] = []
    for index, layer in enumerate(spec.layers):
        c_in = [widths[i] if modules else 3 for i in layer.inputs]
        if layer.block == "Detect" and index == len(spec.layers) - 1:
            modules.append(spec.head.build(c_in, spec.nc))
            break
        where = f"layer {index} ({layer.block})"
        c_out = _channels(layer, c_in, where)
        modules.append(BLOCKS[layer.block](layer, c_in, c_out))
        widths.append(c_out)
    return modules


def _channels(layer: LayerSpec, c_in: Sequence[int], where: str) -> int:
    """Channels that a layer gives, once it is sure that it can be built."""
    if layer.block not in BLOCKS:
        near = difflib.get_close_matches(layer.block, BLOCKS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(BLOCKS)}, and Detect as the last"
        raise ModelError(f"{where}: block '{layer.block}' is not known; {hint}")
    if layer.block in NEEDS_CHANNELS and layer.channels is None:
        raise ModelError(f"{where}: give it channels")
    many = layer.block in ("Concat", "Add", "Mul")
    if len(c_in) > 1 and not many:
        raise ModelError(f"{where} reads {len(c_in)} layers, but takes one; put a Concat before it")
    if layer.block == "Concat":
        if sum(c_in) > MAX_BESIDE:
            raise ModelError(f"{where} puts {sum(c_in)} channels side by side; at most {MAX_BESIDE} make sense")
        return sum(c_in)
    if layer.block in ("Add", "Mul") and (len(c_in) != 2 or c_in[0] != c_in[1]):
        raise ModelError(f"{where} needs two layers of as many channels, not {list(c_in)}")
    groups = layer.groups or 1
    if layer.block in ("Conv", "BiasConv") and (c_in[0] % groups or (layer.channels or 0) % groups):
        raise ModelError(f"{where}: {groups} groups do not divide {c_in[0]} channels into {layer.channels}")
    if layer.block in ("Reorg", "FlatReorg"):
        if layer.block == "FlatReorg" and c_in[0] % 4:
            raise ModelError(f"{where}: {c_in[0]} channels are no multiple of 4")
        return 4 * c_in[0]
    if layer.block == "Slice":
        if c_in[0] % (layer.groups or 2):
            raise ModelError(f"{where}: {c_in[0]} channels cannot be cut into {layer.groups or 2} equal parts")
        return c_in[0] // (layer.groups or 2)
    keeps = layer.block in ("Residual", "C2PSA") or (layer.block == "Shuffle" and (layer.stride or 1) == 1)
    if keeps and layer.channels not in (None, c_in[0]):
        raise ModelError(f"{where} gives as many channels as it reads, {c_in[0]}, not {layer.channels}")
    return layer.channels or c_in[0]
