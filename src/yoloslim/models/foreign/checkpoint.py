"""What a foreign weights file holds, whatever its container: named tensors, and what it tells about the network."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from yoloslim.data.names import settle_class
from yoloslim.errors import WeightsError
from yoloslim.models.foreign.families import BOXES
from yoloslim.models.foreign.records import Record, describe
from yoloslim.models.foreign.tensors import TensorRef
from yoloslim.models.foreign.torch_file import TorchFile, read_torch_file

logger = logging.getLogger(__name__)

LAYER = re.compile(r"model\.(\d{1,4})\.")
"""Where the path of a layer begins in the name of a tensor."""
MODEL_KEYS = ("ema", "model", "state_dict", "model_state_dict")
"""Where training programs put the network in their dictionary, the better one first."""

MAX_ENTRIES, MAX_DEPTH, MAX_NAME = 20_000, 40, 100
"""Modules or tensors, levels of modules, characters of a name: far more than any detector has.

Shared modules would otherwise unfold without end."""

OTHER_TASKS: Mapping[str, str] = {
    "Classify": "classification",
    "ClassificationModel": "classification",
    "Segment": "segmentation",
    "SegmentationModel": "segmentation",
    "Pose": "pose estimation",
    "PoseModel": "pose estimation",
    "OBB": "rotated boxes",
    "OBBModel": "rotated boxes",
    "Segment26": "segmentation",
    "Pose26": "pose estimation",
    "OBB26": "rotated boxes",
}
"""Task by the class of the network or of its last layer."""


@dataclass(frozen=True)
class Checkpoint:
    """A foreign network.

    Attributes:
        state: tensors by name, as `state_dict` names them; nothing is copied yet.
        modules: the pickled modules by path; empty where only tensors were stored.
        classes: names of the classes, where the file tells them.
        imgsz: side of the images it was trained on in px, where the file tells it.
    """

    state: dict[str, Tensor]
    modules: dict[str, Record] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    imgsz: int | None = None


def read_torch_checkpoint(path: Path) -> Checkpoint:
    """Read a pickled model or a state dict, running nothing of it.

    Raises:
        WeightsError: damaged, hostile, of another task, or without any weights; without the path.
    """
    file = read_torch_file(path)
    found = _unwrap(_find_model(file.root))
    attributes = file.root if isinstance(file.root, dict) else {}
    if not isinstance(found, Record):
        tensors = {name: file.tensor(ref) for name, ref in found.items() if isinstance(ref, TensorRef)}
        return Checkpoint(_without_prefix(tensors), {}, _classes(attributes.get("names")), _imgsz(attributes))
    _check_task(found)
    modules = dict(_walk(found))
    classes = _classes(found.state.get("names")) or _classes(attributes.get("names"))
    imgsz = _imgsz(attributes) or _imgsz(found.state)
    return Checkpoint(dict(_tensors(file, modules)), modules, classes, imgsz)


def read_safetensors(path: Path) -> Checkpoint:
    """Read a plain state dict in safetensors.

    Raises:
        WeightsError: not readable; without the path.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return Checkpoint(_without_prefix({name: file.get_tensor(name) for name in file.keys()}))  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"it is no readable safetensors file ({error}); was its copying cut short?") from error


def _find_model(root: Any) -> Any:
    """The network's record, or the dictionary of its tensors."""
    if _is_network(root):
        return root
    if isinstance(root, dict):
        for key in MODEL_KEYS:
            if _is_network(root.get(key)):
                return root[key]
    keys = f"; its keys are {describe(list(root))}" if isinstance(root, dict) else f", but {describe(root)}"
    raise WeightsError(f"it holds no network: neither a pickled model nor a state dict{keys}")


def _is_network(value: Any) -> bool:
    if isinstance(value, Record):
        return isinstance(value.state.get("_modules"), dict)
    return isinstance(value, dict) and any(isinstance(v, TensorRef) for v in value.values())


def _unwrap(network: Any) -> Any:
    """The network inside a DataParallel."""
    if isinstance(network, Record) and network.kind.name in ("DataParallel", "DistributedDataParallel"):
        inner = network.state["_modules"].get("module")
        return inner if _is_network(inner) else network
    return network


def _check_task(network: Record) -> None:
    kind = network.kind
    layers = network.state["_modules"].get("model")
    stack = layers.state.get("_modules") if isinstance(layers, Record) else None
    last = list(stack.values())[-1] if isinstance(stack, dict) and stack else None
    for name in (kind.name, last.kind.name if isinstance(last, Record) else ""):
        if name in OTHER_TASKS:
            raise WeightsError(f"it is a checkpoint for {OTHER_TASKS[name]} ({name}); {BOXES}")


def _walk(network: Record) -> Iterator[tuple[str, Record]]:
    """All modules with their paths, in the order of `nn.Module.named_modules`."""
    waiting, count = [("", network, 0)], 0
    while waiting:
        path, module, depth = waiting.pop()
        count += 1 + len(_table(module, "_parameters")) + len(_table(module, "_buffers"))
        if count > MAX_ENTRIES or depth > MAX_DEPTH:
            raise WeightsError(f"it is refused: more than {MAX_ENTRIES} entries, or nested deeper than {MAX_DEPTH}")
        yield path, module
        children = _table(module, "_modules")
        waiting += [
            (f"{path}.{name}" if path else str(name), child, depth + 1)
            for name, child in reversed(children.items())
            if isinstance(child, Record)
        ]


def _tensors(file: TorchFile, modules: Mapping[str, Record]) -> Iterator[tuple[str, Tensor]]:
    for path, module in modules.items():
        for name, value in (_table(module, "_parameters") | _table(module, "_buffers")).items():
            if isinstance(value, TensorRef):
                yield f"{path}.{name}" if path else str(name), file.tensor(value)


def _table(module: Record, name: str) -> dict[Any, Any]:
    table = module.state.get(name)
    if not isinstance(table, dict):
        return {}
    if len(table) > MAX_ENTRIES or not all(isinstance(key, str) and len(key) <= MAX_NAME for key in table):
        raise WeightsError(f"it is refused: {name} of a {module.kind} is no table of short names")
    return table


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what stands in front of all of them, as DataParallel's `module.` or a wrapper's `model.`."""
    named = {str(name): value for name, value in state.items()}
    inner = LAYER.search(next(iter(named), ""))
    prefix = inner.string[: inner.start()] if inner else ""
    if all(name.startswith(prefix) for name in named):
        return {name.removeprefix(prefix): value for name, value in named.items()}
    return named


def _classes(names: Any) -> tuple[str, ...] | None:
    """Class names from a list, or from a dictionary by number as YOLOv5 v7.0 has them; settled as those of data."""
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        names = [names[key] for key in sorted(names)]
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) and name for name in names):
        settled = tuple(map(settle_class, names))
        for name, ours in zip(names, settled, strict=True):
            if name != ours:
                logger.warning("class %r of the file is called %r from here on, as in data sets", name, ours)
        return settled if all(settled) else None
    return None


def _imgsz(attributes: Mapping[Any, Any]) -> int | None:
    """Image size among the options of the training that wrote the file."""
    options = attributes.get("opt") or attributes.get("train_args") or attributes.get("args")
    options = options.state if isinstance(options, Record) else options
    if not isinstance(options, dict):
        return None
    size = options.get("imgsz", options.get("img_size"))
    size = size[0] if isinstance(size, list) and size else size
    return size if isinstance(size, int) and 0 < size <= 4096 else None
