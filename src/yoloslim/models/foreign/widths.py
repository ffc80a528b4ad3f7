"""Pruned networks of other programs: channel widths are read off the tensors, and must not contradict each other."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from yoloslim.errors import WeightsError
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.records import Record
from yoloslim.models.spec import ModelSpec
from yoloslim.models.split_blocks import C2PSA, AttentionCore, C2f

Shapes = Mapping[str, tuple[int, ...]]


def with_widths(spec: ModelSpec, found: Shapes) -> ModelSpec | None:
    """The spec with the channels that tensors of these shapes have; None if more than channels differs.

    Raises:
        WeightsError: the widths contradict each other; names the tensors.
    """
    with torch.device("meta"):
        model = Detector(spec)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    if wanted.keys() - counters != {key for key in found if not key.endswith("num_batches_tracked")}:
        return None
    if any(_kernel(found[key]) != _kernel(shape) for key, shape in wanted.items() if key not in counters):
        return None
    widths: dict[str, tuple[int, int]] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            widths[path] = (found[f"{path}.weight"][0],) * 2
        elif isinstance(module, nn.Conv2d):
            c_out, c_in = found[f"{path}.weight"][:2]
            if module.groups > 1 and (module.groups != module.in_channels or c_in != 1):
                return None
            widths[path] = (c_out if module.groups > 1 else c_in, c_out)
    head = f"model.{len(spec.layers) - 1}."
    for path, module in model.named_modules():
        if isinstance(module, C2f | C2PSA):
            both, last = widths[f"{path}.cv1.conv"][1], _reads(module, path, widths)
            widths |= {f"{path}.split.0": (both - last,) * 2, f"{path}.split.1": (last,) * 2}
            if not 0 < last < both:
                raise WeightsError(f"{path}.cv1.conv.weight gives {both} channels, of which {path}.m reads {last}")
        fixed = isinstance(module, nn.Conv2d) and path.startswith(head) and module.bias is not None
        if fixed and widths[path][1] != module.out_channels:
            raise WeightsError(f"{path}.weight gives {widths[path][1]} outputs, not {module.out_channels}")
    pruned = spec.model_copy(update={"widths": widths})
    _check(pruned)
    return pruned


def with_shortcuts(spec: ModelSpec, modules: Mapping[str, Record]) -> ModelSpec:
    """The spec with blocks whose pickled units do not add their inputs, as when pruning left them other widths."""
    silent = set()
    for index, layer in enumerate(spec.layers):
        start = f"model.{index}.m."
        adds = [r.state.get("add") for p, r in modules.items() if p.startswith(start) and r.kind.name == "Bottleneck"]
        if layer.block in ("C3", "C2f", "C3k2") and adds and not any(adds):
            silent.add(index)
    layers = (la.model_copy(update={"shortcut": False}) if i in silent else la for i, la in enumerate(spec.layers))
    return spec.model_copy(update={"layers": tuple(layers)})


def _kernel(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (len(shape), *shape[2:])


def _reads(module: nn.Module, path: str, widths: Mapping[str, tuple[int, int]]) -> int:
    """Channels that the first unit of a chain reads."""
    names = (name for name, each in module.get_submodule("m").named_modules() if isinstance(each, nn.Conv2d))
    return widths[f"{path}.m.{next(names)}"][0]


def _check(spec: ModelSpec) -> None:
    """Run the network on shapes alone, and name what does not fit what."""
    with torch.device("meta"):
        model = Detector(spec).eval()
        image = torch.zeros(1, 3, 2 * max(spec.strides), 2 * max(spec.strides))
    inside: list[str] = []
    last: list[str] = ["the image"]

    def before(path: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        inside.append(path)
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            given = inputs[0].shape[1]
            takes = module.in_channels if isinstance(module, nn.Conv2d) else module.num_features
            if given != takes:
                raise WeightsError(f"{path}.weight takes {takes} channels, but gets {given}; the last are of {last[0]}")
        if isinstance(module, AttentionCore) and inputs[0].shape[1] != module.heads * (2 * module.key + module.width):
            raise WeightsError(f"attention heads were cut in {last[0]}, which cannot be read: they must be whole")

    def after(path: str, module: nn.Module) -> None:
        inside.pop()
        if isinstance(module, nn.Conv2d):
            last[0] = f"{path}.weight"

    for path, module in model.named_modules():
        module.register_forward_pre_hook(lambda m, x, path=path: before(path, m, x))
        module.register_forward_hook(lambda m, x, y, path=path: after(path, m))
    try:
        with torch.no_grad():
            model(image)
    except RuntimeError as error:
        where = inside[-1] if inside else "the network"
        raise WeightsError(f"what {where} adds differs in channels; the last are of {last[0]}") from error
