"""The architectures that can be built: one YAML file a family, one name a model."""

import difflib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from yoloslim.choices import Activation
from yoloslim.documents import parse_yaml
from yoloslim.errors import ModelError
from yoloslim.heads import AnyHead, Frozen, Head
from yoloslim.heads.anchor import with_head
from yoloslim.models.spec import (
    MAX_LAYERS,
    LayerSpec,
    ModelSpec,
    round_up,
)

MAX_FACTOR, MAX_MODELS = 64, 1000
"""Of the factors on depth and width, and of the models of a family: far more than any file has."""

CHANNEL_MULTIPLE = 8
"""Scaled channel counts are rounded up to a multiple of this."""


class Multiples(Frozen):
    """What makes one model of a family.

    Attributes:
        depth: factor on repeats.
        width: factor on channels.
        cap: most channels before that factor.
        nested: whether `half` units become `nested` ones.
    """

    depth: float = Field(1.0, gt=0, le=MAX_FACTOR)
    width: float = Field(1.0, gt=0, le=MAX_FACTOR)
    cap: int | None = Field(None, ge=1)
    nested: bool = False


class Family(Frozen):
    """Contents of an architecture file.

    Attributes:
        source: where it comes from, for people.
        models: name -> its factors.
        head: of all of them; the file may give strides, anchors and decoding of an anchor head by themselves.
        layers: as `LayerSpec`, with `from` for `inputs`, at factor 1.
        activation: of the layers that have channels, where they name none.
        bn_eps: what every BatchNorm adds to the variance.
    """

    source: str
    models: dict[str, Multiples] = Field(min_length=1, max_length=MAX_MODELS)
    head: AnyHead
    layers: tuple[dict[str, Any], ...] = Field(max_length=MAX_LAYERS)
    activation: Activation | None = None
    bn_eps: float = 1e-3

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        return with_head(data)

    def spec(self, name: str, classes: tuple[str, ...], imgsz: int, head: Head | None = None) -> ModelSpec:
        """Description of one of its models, with another head of the same kind if one is given."""
        return ModelSpec(
            name=name,
            classes=tuple(classes),
            head=head or self.head,
            imgsz=imgsz,
            layers=tuple(self._layer(index, self.models[name]) for index in range(len(self.layers))),
            bn_eps=self.bn_eps,
        )

    def _layer(self, index: int, scale: Multiples) -> LayerSpec:
        layer = dict(self.layers[index])
        inputs = layer.pop("from", -1)
        layer["inputs"] = tuple(inputs) if isinstance(inputs, list) else (inputs,)
        for key in ("channels", "hidden"):
            if key in layer:
                layer[key] = round_up(min(layer[key], scale.cap or layer[key]) * scale.width, CHANNEL_MULTIPLE)
        if scale.nested and layer.get("units") == "half":
            layer["units"] = "nested"
        if layer.get("repeats", 1) > 1:
            layer["repeats"] = max(round(layer["repeats"] * scale.depth), 1)
        if self.activation and "channels" in layer:
            layer.setdefault("activation", self.activation)
        try:
            return LayerSpec(**layer)
        except ValidationError as error:
            raise ModelError(f"layer {index}: {_first(error)}") from error


def read_family(text: str, where: str) -> Family:
    """Check and read an architecture file.

    Args:
        text: YAML.
        where: its name, for messages.

    Raises:
        ModelError: no YAML, an unknown or missing field, a value out of range, or layers that cannot follow one
            another; names the place.
    """
    try:
        family = Family.model_validate(parse_yaml(text, where, ModelError))
        for name in family.models:
            family.spec(name, ("object",), round_up(640, max(family.head.strides)))
        return family
    except ValidationError as error:
        raise ModelError(f"architecture {where}: {_first(error)}") from error
    except ModelError as error:
        raise ModelError(f"architecture {where}: {error}") from error


def model_names() -> list[str]:
    """Names that `model:` in params.yaml accepts."""
    return list(_catalogue())


def way_to(path: Path, otherwise: str) -> str:
    """What to do where a model file is missing: that of an architecture's name is not downloaded, which others do."""
    name = next((each for each in model_names() if path.stem.lower() == each.lower()), None)
    if name is None:
        return otherwise
    make = f"`yoloslim train DATA --model {name}` makes one"
    return f"{name} is an architecture, whose weights are not downloaded: give a file that is here, or {make}"


def family_of(name: str) -> Family:
    """The family that a model belongs to.

    Raises:
        ModelError: no such model; the message names the nearest that exist.
    """
    known = _catalogue()
    if name in known:
        return known[name]
    lower = {each.lower(): each for each in known}
    near = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(known)};"
    raise ModelError(f"model '{name}' is not known; {hint} `yoloslim models` lists all")


def build_spec(
    name: str,
    classes: tuple[str, ...],
    imgsz: int = 640,
    head: Head | None = None,
) -> ModelSpec:
    """Resolve an architecture by name, with its channels and repeats scaled to its size.

    Raises:
        ModelError: no such model, which lists near ones; or one that cannot have these classes, head or size.
    """
    family = family_of(name)
    try:
        return family.spec(name, classes, imgsz, head)
    except ValidationError as error:
        raise ModelError(f"model '{name}': {_first(error)}") from error


@cache
def _catalogue() -> dict[str, Family]:
    folder = resources.files(__package__).joinpath("architectures")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    families = [read_family(file.read_text(encoding="utf-8"), file.name) for file in files]
    return {name: family for family in families for name in family.models}


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
