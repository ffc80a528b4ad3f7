"""A trained model for other data: other classes, another image size."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from yoloslim.choices import Branch
from yoloslim.documents import read_list
from yoloslim.errors import WeightsError
from yoloslim.heads import Head
from yoloslim.heads.anchor_free import AnchorFreeHead
from yoloslim.heads.anchor_free_network import AnchorFreeNetwork
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.classes import match_classes
from yoloslim.models.spec import ModelSpec, changed

logger = logging.getLogger(__name__)

MAX_PATH = 4096
"""Characters of a path, as Linux has it; longer text can only be names."""


def with_classes(model: Detector, classes: tuple[str, ...]) -> Detector:
    """The model for these classes, in this order.

    Of the classes that it knows, by the same name or another spelling of it, the head keeps the rows, and with any of
    them what finds boxes; rows of the others are initialised afresh. All before the head is kept. The log says which.

    Args:
        model: unchanged; returned as it is if it has these very classes.
        classes: names, each once.
    """
    known = model.spec.classes
    if known == classes:
        return model
    state = model.state_dict()
    other = Detector(_spec_for(model.spec, classes, state))
    own = other.state_dict()
    found = match_classes(classes, known)
    kept = [number for number, name in enumerate(classes) if name in found]
    fresh = _rows(model.spec, [], len(known))
    to = _rows(model.spec, kept, len(classes)) if kept else {}
    of = _rows(model.spec, [known.index(found[classes[number]]) for number in kept], len(known))
    for key, value in state.items():
        path = key.rpartition(".")[0]
        if path in to:
            own[key][to[path]] = value[of[path]]
        elif path not in fresh:
            own[key] = value
    other.load_state_dict(own)
    _tell(classes, found, len(known))
    return other.train(model.training)


def _tell(classes: tuple[str, ...], found: Mapping[str, str], known: int) -> None:
    """Say what the head keeps."""
    new = [name for name in classes if name not in found]
    if not found:
        logger.info("head: initialised afresh for %d classes, as the file knows none of them", len(classes))
    elif new:
        count = f"head: kept what the file knows of {len(found)} of {len(classes)} classes; afresh:"
        logger.info("%s %s", count, ", ".join(new[:5]) + (" ..." if len(new) > 5 else ""))
    else:
        logger.info("head: kept %d of %d classes by name", len(classes), known)
    spelled = [f"{name} is its {other}" for name, other in found.items() if name != other]
    if spelled:
        logger.info("head: other spellings of the same: %s", ", ".join(spelled))


def with_imgsz(model: Detector, imgsz: int, fit: Callable[[Head, int], Head]) -> Detector:
    """The model for images of another size, in place; at the size it learnt it keeps its head.

    Args:
        model: its spec is changed.
        imgsz: side of the images, px.
        fit: makes the head suit that size and the data; takes it and the image size that it is for, px.

    Raises:
        WeightsError: the model cannot take that size.
    """
    spec = model.spec
    if spec.imgsz == imgsz:
        return model
    update = {"imgsz": imgsz, "head": fit(spec.head, spec.imgsz)}
    try:
        model.spec = ModelSpec.model_validate(spec.model_dump() | update)
    except ValidationError as error:
        raise WeightsError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    return model


def with_branch(model: Detector, branch: Branch) -> Detector:
    """The model, in place, answering with another of its two branches.

    Raises:
        WeightsError: its head has one branch only.
    """
    head = model.spec.head
    if not isinstance(head, AnchorFreeHead) or head.answers is None:
        raise WeightsError(f"{model.spec.name} has no branch to choose: only heads such as YOLO26's have two")
    head = head.model_copy(update={"answers": branch})
    model.spec = model.spec.model_copy(update={"head": head})
    cast(AnchorFreeNetwork, model.model[-1]).answers = branch
    return model


def read_names(text: str) -> tuple[str, ...]:
    """Class names from a file with one a line (Darknet's `.names`), or from text with commas between.

    Raises:
        WeightsError: no names, an empty one, or one twice; a file that is missing, or a data.yaml.
    """
    is_file = len(text) < MAX_PATH and Path(text).is_file()
    suffix = Path(text).suffix.lower() if "," not in text else ""
    if suffix in (".yaml", ".yml") or (suffix in (".txt", ".names") and not is_file):
        what = "holds more than names" if is_file else "is missing"
        raise WeightsError(f"classes '{text[:200]}': it {what}; give a file with one name a line, or a,b,c")
    names = read_names_file(Path(text)) if is_file else [part.strip() for part in text.split(",")]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if not names or not all(names) or twice:
        raise WeightsError(f"classes '{text[:200]}': {'twice: ' + ', '.join(twice) if twice else 'an empty name'}")
    return tuple(names)


def read_names_file(path: Path) -> list[str]:
    """Class names, one a line; UTF-8, or UTF-16 with its mark.

    Raises:
        WeightsError: it cannot be read, or is no text.
    """
    return read_list(path, "class names", WeightsError)


def _spec_for(spec: ModelSpec, classes: tuple[str, ...], state: Mapping[str, Tensor]) -> ModelSpec:
    """The spec with other classes; where the widths table names the head, its outputs follow.

    A head that would be built with other towers for so many classes keeps those that it has.
    """
    rows = _rows(spec, list(range(len(classes))), spec.nc)
    widths = {path: (c_in, len(rows[path]) if path in rows else c_out) for path, (c_in, c_out) in spec.widths.items()}
    other = changed(spec, classes=classes, widths=widths)
    with torch.device("meta"):
        built = Detector(other)
    for path, module in built.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            shape = list(state[f"{path}.weight"].shape)
            shape[0] = len(rows[path]) if path in rows else shape[0]
            if shape != list(module.weight.shape):
                whole = isinstance(module, nn.BatchNorm2d) or module.groups > 1
                widths[path] = (shape[0] if whole else shape[1], shape[0])
    return changed(other, widths=widths)


def _rows(spec: ModelSpec, numbers: list[int], classes: int) -> dict[str, list[int]]:
    """Path of each convolution of the head -> the output channels that these classes of so many need."""
    return {f"model.{len(spec.layers) - 1}.{path}": r for path, r in spec.head.class_rows(numbers, classes).items()}
