"""ONNX files of other programs that decode inside, described from shapes and metadata, so that they can be run."""

import ast
import logging
from pathlib import Path
from typing import Any

import onnx

from yoloslim.boxes import FILL
from yoloslim.deploy.describe import Description
from yoloslim.errors import DeployError
from yoloslim.heads.base import USUAL_IMGSZ
from yoloslim.heads.boxes import BoxesHead, Form

logger = logging.getLogger(__name__)

FORMS = "(batch, boxes, 5 + classes), (batch, 4 + classes, boxes) or (batch, boxes, 6)"
MAX_TEXT = 1_000_000
"""Characters of metadata that are read; the names of 10,000 classes have half a million."""
MAX_FINAL = 2000
"""Rows of an output that is suppressed already; others have thousands of cells."""
COCO = 80
"""Classes of a final output that does not name them."""

Sides = tuple[int | None, ...]


def describe_theirs(path: Path, graph: onnx.ModelProto) -> Description:
    """What a graph takes and gives, and the names of its classes where its metadata has them.

    Raises:
        DeployError: not one input of square images, or no output in one of the known forms.
    """
    told = {item.key: _value(item.value) for item in graph.metadata_props}
    task = told.get("task", "detect")
    if task != "detect":
        raise DeployError(f"{path} is made for the task '{str(task)[:40]}'; only detectors can be run")
    name, imgsz = _input(path, graph, told)
    names = _names(told.get("names"))
    outputs = {output.name: _sides(output) for output in graph.graph.output}
    for output, sides in outputs.items():
        found = _form(sides, imgsz, len(names or ()), told)
        if found is not None:
            form, count = found
            logger.info("%s: a graph of another program, run as it is: %s (%s)", path, _shown(sides), form)
            if names is None:
                logger.warning("%s does not name its classes: they are class0 to class%d here", path, count - 1)
            classes = names or tuple(f"class{number}" for number in range(count))
            head = BoxesHead(form=form, classes=count)
            return Description(name, (output,), head, classes, imgsz, "center", FILL)
    shown = ", ".join(f"{output} {_shown(sides)}" for output, sides in outputs.items())
    expected = f" with the {len(names)} classes that it names" if names else ""
    raise DeployError(
        f"{path} is an ONNX file of another program, and gives {shown}. What can be run as it is gives boxes as {FORMS}"
        f"{expected}. If these are raw outputs of a network that yoloslim knows, `yoloslim export {path} --like MODEL` "
        "takes classes and head from a model of ours"
    )


def _form(sides: Sides, imgsz: int, names: int, told: dict[str, Any]) -> tuple[Form, int] | None:
    """Form and number of classes of an output; None for another kind."""
    if len(sides) != 3:
        return None
    rows, columns = sides[1:]
    cells = sum((imgsz // stride) ** 2 for stride in (8, 16, 32))
    few = rows is not None and rows <= MAX_FINAL and rows % cells  # as many as there are cells is a row for each
    counts: list[tuple[Form, int | None]] = [
        ("final", (names or COCO) if columns == 6 and (few or told.get("end2end") is True) else None),
        ("transposed", rows - 4 if rows and (columns is None or rows < columns) else None),
        ("objectness", columns - 5 if columns and (rows is None or rows > columns) else None),
    ]
    fitting = [(form, count) for form, count in counts if count and count > 0 and (not names or count == names)]
    return fitting[0] if fitting else None


def _input(path: Path, graph: onnx.ModelProto, told: dict[str, Any]) -> tuple[str, int]:
    weights = {weight.name for weight in graph.graph.initializer}
    inputs = [value for value in graph.graph.input if value.name not in weights]
    if len(inputs) == 1 and inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
        sides = _sides(inputs[0])
        stated = told.get("imgsz")
        if isinstance(stated, list) and len(stated) == 2 and stated[0] == stated[1]:
            stated = stated[0]
        imgsz = next((side for side in (*sides[2:], stated) if isinstance(side, int) and side > 0), USUAL_IMGSZ)
        if len(sides) == 4 and sides[1] in (3, None) and all(side in (imgsz, None) for side in sides[2:]):
            if None in sides[2:]:
                logger.info("%s takes images of any size: %d px are used", path, imgsz)
            return inputs[0].name, imgsz
    shown = ", ".join(f"{each.name} {_kind(each)} {_shown(_sides(each))}" for each in inputs)
    raise DeployError(f"{path} takes {shown or 'nothing'}; wanted is one input float32 (batch, 3, S, S): export it so")


def _kind(value: onnx.ValueInfoProto) -> str:
    return str(onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()


def _sides(value: onnx.ValueInfoProto) -> Sides:
    return tuple(side.dim_value or None for side in value.type.tensor_type.shape.dim)


def _shown(sides: Sides) -> str:
    return f"({', '.join(str(side or 'any') for side in sides)})"


def _value(text: str) -> Any:
    """A value of the metadata, which holds Python's notation of plain values; anything else is text."""
    try:
        return ast.literal_eval(text) if len(text) < MAX_TEXT else ""
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {"true": True, "false": False}.get(text.lower(), text)


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, dict) and all(isinstance(key, int) for key in value):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) and name for name in value):
        return tuple(" ".join(name.split()) for name in value)
    return None
