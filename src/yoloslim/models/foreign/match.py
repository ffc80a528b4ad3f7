"""From a foreign checkpoint to a Detector: which architecture it is, and proof that it is that one."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from yoloslim.errors import WeightsError
from yoloslim.heads import AnchorHead
from yoloslim.heads.anchor import Anchors
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.anchor_free import FreeHead, complete, is_fused, read_free_head, with_free_head
from yoloslim.models.foreign.checkpoint import LAYER, Checkpoint
from yoloslim.models.foreign.finite import finite
from yoloslim.models.foreign.records import Record, describe
from yoloslim.models.foreign.structure import structure_differences
from yoloslim.models.foreign.widths import with_shortcuts, with_widths
from yoloslim.models.spec import ModelSpec, changed, round_up
from yoloslim.models.zoo import build_spec, model_names

logger = logging.getLogger(__name__)

GEOMETRY = ("anchors", "anchor_grid", "stride")
"""Buffers of a public Detect that are no weights: anchors in cells, or in pixels, and strides."""

USUAL_ANCHORS = 3
NORM_EPS = 1e-3
MAX_LEVELS, MAX_OUTPUTS = 8, 10_000
MAX_CANDIDATES = 4
"""Architectures compared tensor by tensor, beginning with the likeliest; the right one is the first or second."""


Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class HeadTraits:
    """What the names and shapes of the last layer tell.

    Attributes:
        layer: its number.
        widths: channels that its convolution of each level reads.
        anchors: (levels, anchors, 2) in cells; None where the file does not hold them.
        nc: number of classes.
        free: of a head without anchors, what else its tensors tell.
    """

    layer: int
    widths: tuple[int, ...]
    anchors: Tensor | None
    nc: int
    free: FreeHead | None = None


def detector_from(checkpoint: Checkpoint, name: str | None = None, classes: tuple[str, ...] | None = None) -> Detector:
    """Build the model that a checkpoint is of, with its weights, in eval mode.

    Args:
        checkpoint: as it was read.
        name: the architecture; None finds it by the names and shapes of the tensors.
        classes: names for a file that has none; ignored where their number differs.

    Raises:
        WeightsError: no known architecture, or not the given one; a tensor missing, left over, of another shape, or
            not finite; layers that compute something else. Without the path.
        ModelError: no architecture of that name.
    """
    head = read_head(checkpoint.state)
    checkpoint = _completed(checkpoint, head)
    _check_norms(checkpoint.state)
    spec = _recognise(checkpoint, head, _names(checkpoint.classes, classes, head.nc), name)
    model = Detector(spec)
    differences = structure_differences(model, checkpoint.modules)
    if differences:
        raise WeightsError(f"its tensors fit {spec.name}, but it computes something else: {_some(differences)}")
    state = {key: finite(key, value) for key, value in _weights(checkpoint.state, head).items()}
    own = model.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked") and key not in state}
    model.load_state_dict(state | counters)
    return model.eval()


def read_head(state: Mapping[str, Tensor]) -> HeadTraits:
    """Find the detection layer by its names: the last layer, with one 1x1 convolution a level in its list `m`.

    Raises:
        WeightsError: there is none.
    """
    layer = max((int(found[1]) for found in map(LAYER.match, state) if found), default=-1)
    prefix = f"model.{layer}."
    free = read_free_head(state, prefix)
    if free:
        return HeadTraits(layer, free.widths, None, free.nc, free)
    pairs = [(state.get(f"{prefix}m.{i}.weight"), state.get(f"{prefix}m.{i}.bias")) for i in range(MAX_LEVELS)]
    convolutions = [(weight, bias) for weight, bias in pairs if weight is not None and bias is not None]
    widths = tuple(weight.shape[1] for weight, _ in convolutions if weight.ndim == 4)
    biases = [bias for _, bias in convolutions if bias.ndim == 1]
    anchors = state.get(f"{prefix}anchors")
    if layer < 0:
        raise WeightsError("none of its tensors is named as in YOLOv5 (model.0.conv.weight ...); it is another network")
    if not biases or len(biases) != len(widths) or len({len(bias) for bias in biases}) > 1:
        raise WeightsError(
            f"it has no detection head: its last layer, model.{layer}, is not one convolution a level "
            f"(a classification or segmentation network, or none that is known?)"
        )
    if f"{prefix}proto.cv1.conv.weight" in state:
        raise WeightsError("it is a segmentation checkpoint (its last layer makes mask prototypes); give a detector")
    fits = anchors is not None and anchors.ndim == 3 and anchors.shape[::2] == (len(biases), 2) and anchors.numel()
    anchors = anchors if fits else None
    per_level = USUAL_ANCHORS if anchors is None else anchors.shape[1]
    outputs, rest = divmod(len(biases[0]), per_level)
    if rest or not 6 <= outputs <= MAX_OUTPUTS:
        raise WeightsError(f"its head gives {len(biases[0])} values a cell, which are not {per_level} anchors' outputs")
    return HeadTraits(layer, widths, anchors, outputs - 5)


def _completed(checkpoint: Checkpoint, head: HeadTraits) -> Checkpoint:
    """The checkpoint with what fusing took out of a network without anchors, which is said."""
    if head.free is None:
        return checkpoint
    twin = head.free.bins == 1  # only YOLO26 has distances without distributions, and it has two branches
    if is_fused(checkpoint.state):
        logger.warning(
            "its BatchNorms were folded into the convolutions: scales start at 1 and say nothing about channels; "
            "train sparsely before pruning by them"
        )
    if twin and len(head.free.branches) == 1:
        logger.warning("it holds only its %s branch; the other one starts as a copy", head.free.branches[0])
    prefix = f"model.{head.layer}."
    return replace(checkpoint, state=complete(checkpoint.state, prefix, head.free, twin, NORM_EPS))


def _names(told: tuple[str, ...] | None, given: tuple[str, ...] | None, count: int) -> tuple[str, ...]:
    """Names of the classes: those that the file tells, else those that were given, else numbers."""
    if told and len(told) != count:
        logger.warning("it names %d classes, but its head tells %d apart: the names are not used", len(told), count)
    if told and len(told) == count:
        return told
    if given and len(given) == count:
        logger.warning("it names no classes: its %d are taken for %s, in this order", count, describe(list(given)))
        return given
    logger.warning("its classes are called class0 to class%d; --classes of `import` names them in order", count - 1)
    return tuple(f"class{i}" for i in range(count))


def _check_norms(state: Mapping[str, Tensor]) -> None:
    """Refuse a network whose BatchNorms are gone: its tensors would be called missing one by one."""
    if not any(key.endswith(".running_var") for key in state):
        raise WeightsError(
            "it has no BatchNorm: they were folded into the convolutions (`fuse()`), as is done to run a model, and "
            "nothing is left to train or prune by. Give the checkpoint that training wrote (best.pt, last.pt), not one "
            "that was saved after it was loaded for detection"
        )


def _recognise(checkpoint: Checkpoint, head: HeadTraits, classes: tuple[str, ...], name: str | None) -> ModelSpec:
    found = {key: tuple(value.shape) for key, value in _weights(checkpoint.state, head).items()}
    candidates = [build_spec(name, classes)] if name else _candidates(checkpoint, head, classes)
    candidates = [_like(spec, checkpoint, head) for spec in candidates]
    nearest: tuple[int, str, list[str]] | None = None
    for spec in candidates:
        differences = list(_differences(_shapes(spec), found))
        if not differences:
            return _with_geometry(spec, checkpoint, head)
        if nearest is None or len(differences) < nearest[0]:
            nearest = len(differences), spec.name, differences
    others = [
        spec.name
        for spec in (_candidates(checkpoint, head, classes) if name else [])
        if _shapes(_like(spec, checkpoint, head)).items() <= found.items()
    ]
    pruned, contradiction = (None, "") if others else _pruned(candidates, found, checkpoint.modules)
    if pruned:
        logger.warning("it is a %s with other widths, as pruning leaves them: they are taken from it", pruned.name)
        return _with_geometry(pruned, checkpoint, head)
    if nearest is None:
        raise WeightsError(
            f"it has {head.layer + 1} layers and {len(head.widths)} levels, like none of the known models "
            f"({', '.join(model_names())})"
        )
    count, near, differences = nearest
    what = f"it is none of the known models; the nearest is {near}"
    if name:
        what = f"it is no {name}{''.join(f' but {other}' for other in others)}"
    contradiction = f"; as a pruned network it contradicts itself: {contradiction}" if contradiction else ""
    raise WeightsError(f"{what}: {count} tensors differ: {_some(differences)}{contradiction}")


def _like(spec: ModelSpec, checkpoint: Checkpoint, head: HeadTraits) -> ModelSpec:
    return with_free_head(spec, head.free, checkpoint.modules) if head.free and not _anchored(spec) else spec


def _anchored(spec: ModelSpec) -> bool:
    return isinstance(spec.head, AnchorHead)


def _pruned(candidates: list[ModelSpec], found: Shapes, modules: Mapping[str, Record]) -> tuple[ModelSpec | None, str]:
    """The smallest architecture that tensors of these shapes can have been cut from, or how they contradict it."""

    def excess(spec: ModelSpec) -> tuple[bool, int]:
        wanted = _shapes(spec)
        pairs = [(shape, found[key]) for key, shape in wanted.items() if key in found]
        too_wide = any(b > a for shape, other in pairs for a, b in zip(shape, other, strict=False))
        return too_wide, sum(math.prod(shape) for shape, _ in pairs)

    contradiction = ""
    for spec in sorted(candidates, key=excess):
        try:
            pruned = with_widths(with_shortcuts(spec, modules), found)
        except WeightsError as error:
            contradiction = contradiction or str(error)
            continue
        if pruned:
            return pruned, ""
    return None, contradiction


def _candidates(checkpoint: Checkpoint, head: HeadTraits, classes: tuple[str, ...]) -> list[ModelSpec]:
    """Architectures with as many layers and levels, those first whose heads read as many channels."""
    specs = [build_spec(name, classes) for name in model_names()]
    specs = [each for each in specs if _anchored(each) == (head.free is None)]
    specs = [each for each in specs if (len(each.layers), len(each.strides)) == (head.layer + 1, len(head.widths))]

    def distance(spec: ModelSpec) -> int:
        widths = [spec.layers[source].channels or 0 for source in spec.layers[-1].inputs]
        return sum(abs(wanted - found) for wanted, found in zip(widths, head.widths, strict=True))

    return sorted(specs, key=distance)[:MAX_CANDIDATES]


def _with_geometry(spec: ModelSpec, checkpoint: Checkpoint, head: HeadTraits) -> ModelSpec:
    """The spec with the file's own anchors and image size."""
    step = max(spec.strides)
    if not checkpoint.imgsz:
        logger.warning(
            "it does not tell at what image size it learnt: %d px are assumed; --imgsz of `import` says another",
            spec.imgsz,
        )
    update: dict[str, object] = {"imgsz": round_up(checkpoint.imgsz or spec.imgsz, step)}
    if head.anchors is not None and isinstance(spec.head, AnchorHead):
        update["head"] = spec.head.model_copy(update={"anchors": _anchors_px(head.anchors, spec)})
    return changed(spec, **update)


def _anchors_px(cells: Tensor, spec: ModelSpec) -> Anchors:
    pixels = cells.double() * torch.tensor(spec.strides).view(-1, 1, 1)
    if not torch.isfinite(pixels).all() or (pixels <= 0).any():
        raise WeightsError("its anchors are not all positive numbers")
    return tuple(tuple((w, h) for w, h in level) for level in pixels.tolist())


def _shapes(spec: ModelSpec) -> Shapes:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in Detector(spec).state_dict().items()}


def _weights(state: Mapping[str, Tensor], head: HeadTraits) -> dict[str, Tensor]:
    """The tensors without the geometry of the head, which the spec holds."""
    geometry = {f"model.{head.layer}.{name}" for name in GEOMETRY}
    return {key: value for key, value in state.items() if key not in geometry}


def _differences(wanted: Shapes, found: Shapes) -> Iterator[str]:
    for key, shape in wanted.items():
        if key not in found:
            if not key.endswith("num_batches_tracked"):
                yield f"{key} {_shape(shape)} is missing"
        elif found[key] != shape:
            yield f"{key} is {_shape(found[key])}, not {_shape(shape)}"
    yield from (f"{key[:80]} {_shape(shape)} is left over" for key, shape in found.items() if key not in wanted)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _some(differences: list[str], shown: int = 3) -> str:
    more = f"; and {len(differences) - shown} more" if len(differences) > shown else ""
    return "; ".join(differences[:shown]) + more
