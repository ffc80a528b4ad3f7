"""What the tensors of an anchor-free head tell: the class of a pickled head says little, its keys say all."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloslim.choices import Branch
from yoloslim.errors import WeightsError
from yoloslim.heads.anchor_free import AnchorFreeHead, Towers
from yoloslim.models.foreign.records import Record
from yoloslim.models.spec import ModelSpec

MAX_BINS, MAX_CLASSES = 256, 10_000


@dataclass(frozen=True)
class FreeHead:
    """What a head's tensors tell.

    Attributes:
        widths: channels of each level's features.
        nc: number of classes.
        bins: of each side.
        towers: of the classes.
        branches: those that the file holds.
    """

    widths: tuple[int, ...]
    nc: int
    bins: int
    towers: Towers
    branches: tuple[Branch, ...]


def read_free_head(state: Mapping[str, Tensor], prefix: str) -> FreeHead | None:
    """The anchor-free head at `prefix` (`model.22.`), or None if another stands there.

    Raises:
        WeightsError: it is one, but its parts do not fit together, or it also makes masks, key points or angles.
    """
    found: list[tuple[Branch, str]] = [("one_to_many", prefix), ("one_to_one", f"{prefix}one2one_")]
    branches = [(branch, start) for branch, start in found if f"{start}cv3.0.2.bias" in state]
    if not branches:
        return None
    for name, task in (("proto.cv1.conv.weight", "segmentation"), ("cv4.0.2.weight", "masks, key points or rotation")):
        if prefix + name in state or f"{prefix}one2one_{name}" in state:
            raise WeightsError(f"it is a checkpoint for {task} (it has {prefix}{name}); give a detector")
    start = branches[0][1]
    levels = sum(f"{start}cv2.{level}.2.bias" in state for level in range(8))
    try:
        widths = tuple(state[f"{start}cv2.{level}.0.conv.weight"].shape[1] for level in range(levels))
        outputs, nc = len(state[f"{start}cv2.0.2.bias"]), len(state[f"{start}cv3.0.2.bias"])
    except (KeyError, IndexError, TypeError) as error:
        raise WeightsError(f"its head is damaged: {error} is missing or of no use") from error
    if outputs % 4 or not 0 < outputs // 4 <= MAX_BINS or not 0 < nc <= MAX_CLASSES:
        raise WeightsError(f"its head gives {outputs} values for a box and {nc} classes, which is no anchor-free head")
    bins = outputs // 4
    fixed = state.get(f"{prefix}dfl.conv.weight")
    if (fixed is None) != (bins == 1):
        raise WeightsError(f"its head has {bins} bins a side, but {'no ' if fixed is None else ''}dfl.conv.weight")
    if fixed is not None and fixed.flatten().tolist() != list(range(bins)):
        raise WeightsError(f"its {prefix}dfl.conv.weight is not 0 to {bins - 1}; it computes other distances")
    light = f"{start}cv3.0.0.0.conv.weight" in state
    return FreeHead(widths, nc, bins, "light" if light else "full", tuple(branch for branch, _ in branches))


def with_free_head(spec: ModelSpec, free: FreeHead, modules: Mapping[str, Record]) -> ModelSpec:
    """The spec with the head that was found, and with SPPF as the pickled one computes: shapes do not show it."""
    assert isinstance(spec.head, AnchorFreeHead)
    update: dict[str, object] = {"bins": free.bins, "towers": free.towers}
    if spec.head.answers and len(free.branches) == 1:
        update["answers"] = free.branches[0]
    layers = tuple(
        layer.model_copy(update=_pooling(modules, f"model.{index}")) if layer.block == "SPPF" else layer
        for index, layer in enumerate(spec.layers)
    )
    return spec.model_copy(update={"head": spec.head.model_copy(update=update), "layers": layers})


def _pooling(modules: Mapping[str, Record], path: str) -> dict[str, object]:
    if path not in modules or f"{path}.cv1.act" not in modules:
        return {}
    linear = modules[f"{path}.cv1.act"].kind.name == "Identity"
    return {
        "activation": "linear" if linear else None,
        "shortcut": True if modules[path].state.get("add") is True else None,
    }


def complete(state: Mapping[str, Tensor], prefix: str, free: FreeHead, twin: bool, eps: float) -> dict[str, Tensor]:
    """The state with what fusing took out: BatchNorms that change nothing, and the branch that did not answer.

    Args:
        state: of a file.
        prefix: of the head.
        free: the head.
        twin: whether the architecture has two branches.
        eps: of its BatchNorms.
    """
    full = dict(state)
    for key, bias in state.items():
        path = key.removesuffix(".conv.bias")
        if path == key or f"{path}.bn.weight" in state:
            continue
        del full[key]
        one = torch.ones_like(bias, dtype=torch.float32)
        full |= {f"{path}.bn.weight": one, f"{path}.bn.bias": bias, f"{path}.bn.running_mean": one * 0}
        full[f"{path}.bn.running_var"] = one - eps
    if twin and len(free.branches) == 1:
        other = re.compile(re.escape(prefix) + r"(one2one_)?(cv[23]\..*)")
        mine = "" if free.branches[0] == "one_to_many" else "one2one_"
        for key, value in list(full.items()):
            found = other.fullmatch(key)
            if found and (found[1] or "") == mine:
                full[f"{prefix}{'' if mine else 'one2one_'}{found[2]}"] = value
    return full


def is_fused(state: Mapping[str, Tensor]) -> bool:
    """Whether BatchNorms were folded into convolutions."""
    return not any(key.endswith(".running_var") for key in state)
