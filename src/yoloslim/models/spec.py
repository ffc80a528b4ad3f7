"""What a model is, apart from its weights: written into every model file, read back to build it."""

import math
from functools import cache
from importlib import resources
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from yoloslim.errors import ModelError

Anchor = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerSpec(_Frozen):
    """One layer: block name, the layers it reads (-1 is the one before) and the block's own numbers."""

    block: str
    inputs: tuple[int, ...] = (-1,)
    channels: int | None = Field(None, ge=1)
    kernel: int | None = Field(None, ge=1)
    stride: int | None = Field(None, ge=1)
    padding: int | None = Field(None, ge=0)
    repeats: int | None = Field(None, ge=1)
    shortcut: bool | None = None


class ModelSpec(_Frozen):
    """Architecture, classes and geometry of one model.

    Attributes:
        name: such as `yolov5n`.
        classes: class names in the order of the head's outputs.
        anchors: width and height in pixels, by level and anchor.
        strides: image pixels per cell, by level.
        imgsz: side in pixels of the square images it was trained on.
        layers: the network before pruning.
        widths: for pruned models, module path -> (in, out) channels of each convolution and BatchNorm.
        removed: module paths of residual units that were cut whole (the identity stands there).
    """

    name: str
    classes: tuple[str, ...] = Field(min_length=1)
    anchors: tuple[tuple[Anchor, ...], ...]
    strides: tuple[int, ...]
    imgsz: int = Field(ge=32)
    layers: tuple[LayerSpec, ...]
    widths: dict[str, tuple[int, int]] = {}
    removed: tuple[str, ...] = ()

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @field_validator("imgsz")
    @classmethod
    def _imgsz_fits_strides(cls, value: int) -> int:
        if value % 32:
            raise ValueError(f"imgsz {value} is not a multiple of 32; {round_up(value, 32)} is the next one")
        return value

    @model_validator(mode="after")
    def _levels_agree(self) -> "ModelSpec":
        counts = [len(level) for level in self.anchors]
        if len(counts) != len(self.strides) or len(set(counts)) != 1 or not counts[0]:
            raise ValueError(f"{counts} anchors by level do not fit strides {list(self.strides)}; each needs as many")
        if not self.layers or self.layers[-1].block != "Detect" or len(self.layers[-1].inputs) != len(counts):
            raise ValueError(f"the last layer must be a Detect that reads {len(counts)} layers, one a stride")
        return self


def round_up(value: float, multiple: int) -> int:
    """Smallest multiple of `multiple` that is at least `value`."""
    return math.ceil(value / multiple) * multiple


@cache
def _family(name: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath("architectures", f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def model_names() -> list[str]:
    """Names that `model:` in params.yaml accepts."""
    folder = resources.files(__package__).joinpath("architectures")
    families = sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))
    return [f + size for f in families for size in _family(f)["sizes"]]


def build_spec(
    name: str,
    classes: tuple[str, ...],
    imgsz: int = 640,
    anchors: tuple[tuple[Anchor, ...], ...] | None = None,
) -> ModelSpec:
    """Resolve an architecture by name, with its channels and repeats scaled to its size.

    Raises:
        ModelError: no such model; the message lists those that exist.
    """
    if name not in model_names():
        raise ModelError(f"model '{name}' is not known; choose one of {', '.join(model_names())}")
    family = _family(name[:-1])
    depth, width = family["sizes"][name[-1]]["depth"], family["sizes"][name[-1]]["width"]
    layers = []
    for raw in family["layers"]:
        layer = dict(raw)
        inputs = layer.pop("from", -1)
        layer["inputs"] = tuple(inputs) if isinstance(inputs, list) else (inputs,)
        if "channels" in layer:
            layer["channels"] = round_up(layer["channels"] * width, 8)
        if layer.get("repeats", 1) > 1:
            layer["repeats"] = max(round(layer["repeats"] * depth), 1)
        layers.append(LayerSpec(**layer))
    return ModelSpec(
        name=name,
        classes=tuple(classes),
        anchors=anchors or family["anchors"],
        strides=tuple(family["strides"]),
        imgsz=imgsz,
        layers=tuple(layers),
    )
