"""Does a pickled network compute what ours does? Equal shapes do not show activations, strides or wiring."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from yoloslim.models.build import BLOCKS
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.records import Record, describe

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "BatchNorm2d": ("eps",),
        "Conv2d": ("stride", "padding", "dilation", "groups"),
        "LeakyReLU": ("negative_slope",),
        "MaxPool2d": ("kernel_size", "stride", "padding"),
        "Upsample": ("scale_factor",),
    }
)
"""By class of a leaf module, what it computes with besides its tensors."""

PUBLIC: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"Conv": ("Conv", "DWConv"), "C2f": ("C2f", "C3k2"), "AnchorFreeNetwork": ("Detect",), "Detect": ("Detect",)}
    | {name: (name,) for name in ("Bottleneck", "C3", "C3k", "C2PSA", "PSABlock", "Attention", "SPPF", "SPP", "Focus")}
)
"""By class of ours, what the public classes that compute the same are called; programs that prune add a word to it."""


def structure_differences(model: Detector, modules: Mapping[str, Record]) -> list[str]:
    """What the pickled modules do otherwise than the model's, in words; empty if nothing, or if there are none."""
    if not modules:
        return []
    looks = (_layer_differences, _class_differences, _leaf_differences)
    return [difference for look in looks for difference in look(model, modules)]


def _layer_differences(model: Detector, modules: Mapping[str, Record]) -> Iterator[str]:
    """Blocks, and which layers they read: the public attribute `f`, an integer or a list, -1 for the one before."""
    for index, layer in enumerate(model.spec.layers):
        record = modules.get(f"model.{index}")
        if record is None:
            continue
        kind = record.kind.name
        if kind != layer.block and (kind in BLOCKS or kind == "Detect"):
            yield f"layer {index} is {kind}, not {layer.block}"
        source = record.state.get("f")
        sources = [each for each in (source if isinstance(source, list) else [source]) if isinstance(each, int)]
        if sources:
            read = tuple(index + each if each < 0 else each for each in sources)
            wanted = tuple(index + each if each < 0 else each for each in layer.inputs)
            if read != wanted:
                yield f"layer {index} ({kind}) reads layers {describe(read)}, not {wanted}"


def _class_differences(model: Detector, modules: Mapping[str, Record]) -> Iterator[str]:
    """Classes that are not known: nobody here can tell what they compute with such tensors."""
    unknown: dict[tuple[str, str], list[str]] = {}
    for path, module in model.named_modules():
        public = PUBLIC.get(type(module).__name__, ())
        kind = modules[path].kind.name if public and path in modules else ""
        if kind and kind.removesuffix("Pruned") not in public and kind not in BLOCKS:
            unknown.setdefault((kind, public[0]), []).append(path)
    for (kind, public_name), paths in unknown.items():
        yield (
            f"{_list(paths)} of class {kind[:80]}, which is not known, where {public_name} is expected (if it computes "
            "the same, give a file with its state dict alone)"
        )


def _list(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _leaf_differences(model: Detector, modules: Mapping[str, Record]) -> Iterator[str]:
    for path, module in model.named_modules():
        record = modules.get(path)
        if record is None:
            continue
        shortcut = getattr(module, "shortcut", None)
        if record.state.get("add", shortcut) != shortcut:
            yield f"{path} adds its input: {describe(record.state['add'])}, not {shortcut}"
        if not type(module).__module__.startswith("torch.nn") or any(True for _ in module.children()):
            continue
        wanted, found = type(module).__name__, record.kind.name
        if found != wanted:
            yield f"{path} is {found}, not {wanted}"
            continue
        for name in ATTRIBUTES.get(wanted, ()):
            if name in record.state and _pair(record.state[name]) != _pair(getattr(module, name)):
                yield f"{path} has {name} {describe(record.state[name])}, not {getattr(module, name)}"


def _pair(value: Any) -> Any:
    """Side lengths as a pair: PyTorch takes 2 for (2, 2)."""
    return (value, value) if isinstance(value, (int, float)) else value
