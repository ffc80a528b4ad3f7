"""A trained model for other data: other classes, another image size."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from pydantic import ValidationError

from yoloslim.data.anchors import ANCHOR_IMGSZ, Anchors
from yoloslim.errors import WeightsError
from yoloslim.models.blocks import Detect
from yoloslim.models.detector import Detector
from yoloslim.models.spec import ModelSpec
from yoloslim.runner.text import NotText, read_lines

logger = logging.getLogger(__name__)

MAX_PATH = 4096
"""Characters of a path, as Linux has it; longer text can only be names."""


def with_classes(model: Detector, classes: tuple[str, ...]) -> Detector:
    """The model for these classes, in this order.

    Where it knows every one of them by name, the head keeps their rows, so that a model of 80 classes becomes one of
    two without training. Otherwise the head is initialised afresh, and everything before it is kept.

    Args:
        model: unchanged; returned as it is if it has these very classes.
        classes: names, each once.
    """
    known = model.spec.classes
    if known == classes:
        return model
    smaller = Detector(_spec_for(model.spec, classes))
    state = model.state_dict()
    own = smaller.state_dict()
    prefix = f"model.{len(model.spec.layers) - 1}."
    if set(classes) <= set(known):
        head = cast(Detect, model.model[-1])
        rows = _rows(head, [known.index(name) for name in classes])
        state = {key: value[rows] if key.startswith(prefix) else value for key, value in state.items()}
        logger.info("head: kept %d of %d classes by name", len(classes), len(known))
    else:
        state = {key: own[key] if key.startswith(prefix) else value for key, value in state.items()}
        new = [name for name in classes if name not in known]
        logger.info(
            "head: initialised afresh for %d classes, as the file does not know %s; the rest is kept",
            len(classes),
            ", ".join(new[:5]) + (" ..." if len(new) > 5 else ""),
        )
    smaller.load_state_dict(state)
    return smaller.train(model.training)


def with_imgsz(model: Detector, imgsz: int, fit: Callable[[Anchors], Anchors] | None) -> Detector:
    """The model for images of another size, in place; at the size it learnt it keeps its anchors.

    Args:
        model: its spec is changed.
        imgsz: side of the images, px.
        fit: finds anchors for that size and the data, from anchors for images of 640 px; None keeps those there are.

    Raises:
        WeightsError: the model cannot take that size.
    """
    spec = model.spec
    if spec.imgsz == imgsz:
        return model
    factor = ANCHOR_IMGSZ / spec.imgsz
    usual = tuple(tuple((factor * w, factor * h) for w, h in level) for level in spec.anchors)
    update = {"imgsz": imgsz, "anchors": fit(usual) if fit else spec.anchors}
    try:
        model.spec = ModelSpec.model_validate(spec.model_dump() | update)
    except ValidationError as error:
        raise WeightsError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    return model


def read_names(text: str) -> tuple[str, ...]:
    """Class names from a file with one a line (Darknet's `.names`), or from text with commas between.

    Raises:
        WeightsError: no names, an empty one, or one twice.
    """
    is_file = len(text) < MAX_PATH and Path(text).is_file()
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
    try:
        return read_lines(path)
    except NotText as error:
        raise WeightsError(f"class names {path} {error}") from error
    except OSError as error:
        raise WeightsError(f"class names {path} cannot be read: {error.strerror or error}") from error


def _rows(head: Detect, numbers: list[int]) -> torch.Tensor:
    """Output channels of the head that belong to the box, the objectness and these classes, for every anchor."""
    per_anchor = torch.tensor([*range(5), *(5 + number for number in numbers)])
    return (torch.arange(head.anchors_per_level)[:, None] * head.outputs + per_anchor).flatten()


def _spec_for(spec: ModelSpec, classes: tuple[str, ...]) -> ModelSpec:
    """The spec with other classes; where the widths table names the head, its outputs follow."""
    prefix, outputs = f"model.{len(spec.layers) - 1}.", len(spec.anchors[0]) * (5 + len(classes))
    widths = {
        path: (c_in, outputs if path.startswith(prefix) else c_out) for path, (c_in, c_out) in spec.widths.items()
    }
    return ModelSpec.model_validate(spec.model_dump() | {"classes": classes, "widths": widths})
