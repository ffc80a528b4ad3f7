"""What an ONNX file says about itself, and how a file of another tool becomes one that does."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from pydantic import TypeAdapter

from yoloslim.boxes import Align
from yoloslim.choices import Outputs
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import Geometry
from yoloslim.heads import AnyHead, Head
from yoloslim.heads.anchor import with_head
from yoloslim.models.spec import ImageSide, Line
from yoloslim.runner.instead import BEGINNING, instead

KEYS = ("classes", "head", "imgsz", "letterbox", "model", "outputs")
"""Metadata that `embed_metadata` puts into the file, beside, of quantised graphs, `precision`."""


@dataclass(frozen=True)
class Description:
    """A `GraphDescription` read from an ONNX file alone."""

    input_name: str
    head_names: tuple[str, ...]
    head: Head
    classes: tuple[str, ...]
    imgsz: int
    letterbox_align: Align
    letterbox_fill: int
    precision: str = "fp32"
    outputs: Outputs = "raw"


def embed_metadata(
    graph: onnx.ModelProto,
    geometry: Geometry,
    model: str,
    align: Align,
    fill: int,
    outputs: Outputs = "raw",
) -> None:
    """Put all that `describe_onnx` reads into a graph, in place; another tool's values under these names go."""
    values = {
        "classes": list(geometry.classes),
        "head": geometry.head.facts(),
        "imgsz": geometry.imgsz,
        "letterbox": {"align": align, "fill": fill},
        "model": model,
        "outputs": outputs,
    }
    others = [item for item in graph.metadata_props if item.key not in (*values, "precision")]
    del graph.metadata_props[:]
    graph.metadata_props.extend(others)
    for key, value in values.items():
        graph.metadata_props.add(key=key, value=json.dumps(value))


def read_onnx(path: Path) -> onnx.ModelProto:
    """Load an ONNX file.

    Raises:
        DeployError: it is missing or no ONNX.
    """
    try:
        return onnx.load(path)
    except OSError as error:
        raise DeployError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # protobuf's error is not part of onnx's interface
        with path.open("rb") as stream:
            other = instead(stream.read(BEGINNING))
        raise DeployError(f"{path} is {other or f'not an ONNX file, or was cut short: {error}'}") from error


def is_ours(graph: onnx.ModelProto) -> bool:
    """Whether a graph describes itself as `embed_metadata` does, be it in part."""
    return len({item.key for item in graph.metadata_props} & {"classes", "head", "anchors", "letterbox", "outputs"}) > 1


def describe_onnx(path: Path) -> Description:
    """Read the metadata that `embed_metadata` left inside the file, for a file that lost its manifest.

    Raises:
        DeployError: there is none; the message tells how to import a file of another tool.
    """
    if path.suffix != ".onnx":
        raise DeployError(f"{path.parent / 'manifest.json'} is missing, and {path.name} does not describe itself")
    graph = read_onnx(path)
    values = with_head(_metadata(graph))
    missing = [key for key in KEYS if key not in values]
    if missing:
        raise DeployError(
            f"{path} is an ONNX file of another tool: neither a manifest.json beside it nor its own metadata tell "
            f"{', '.join(missing)}. `yoloslim export {path} --like MODEL` takes them from a model with the same "
            "classes and head"
        )
    try:
        return _description(graph, values)
    except (ValueError, TypeError, LookupError) as error:
        raise DeployError(f"{path} describes itself wrongly ({str(error).splitlines()[0]}); export it again") from error


def _description(graph: onnx.ModelProto, values: dict[str, Any]) -> Description:
    heads = tuple(output.name for output in graph.graph.output) if values["outputs"] == "raw" else ()
    precision = values.get("precision", "fp32")
    return Description(
        graph.graph.input[0].name,
        heads,
        TypeAdapter(AnyHead).validate_python(values["head"]),
        TypeAdapter(tuple[Line, ...]).validate_python(values["classes"]),
        TypeAdapter(ImageSide).validate_python(values["imgsz"]),
        values["letterbox"]["align"],
        values["letterbox"]["fill"],
        precision,
        TypeAdapter(Outputs).validate_python(values["outputs"]),
    )


def _metadata(graph: onnx.ModelProto) -> dict[str, Any]:
    values = {}
    for item in graph.metadata_props:
        try:
            values[item.key] = json.loads(item.value)
        except ValueError:
            continue  # another tool's text
    return values
