"""What a model is, apart from its weights: written into every model file, read back to build it."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from yoloslim.choices import Activation
from yoloslim.errors import ModelError
from yoloslim.heads import AnyHead, Frozen, Loss
from yoloslim.heads.anchor import with_head

if TYPE_CHECKING:
    import torch

    from yoloslim.config import TrainParams
    from yoloslim.heads.base import Total

Units = Literal["bottleneck", "half", "nested", "attention"]
"""What C2f and C3k2 chain: residual units, those with half as many channels inside, C3k, or a unit and attention."""

MAX_SIDE, MAX_CHANNELS, MAX_LAYERS, MAX_UNITS, MAX_KERNEL = 8192, 65_536, 1000, 1000, 64
MAX_BESIDE = 16 * MAX_CHANNELS
"""Far beyond every published detector; descriptions come from strangers, and must not cost memory or minutes."""
_Channels = Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
_Kernel = Annotated[int, Field(ge=1, le=MAX_KERNEL)]
ImageSide = Annotated[int, Field(ge=32, le=MAX_SIDE)]
Paths = Annotated[tuple[str, ...], Field(max_length=10 * MAX_UNITS)]

_BREAKS = ("Cc", "Cs", "Zl", "Zp")
"""Categories of what ends a line somewhere, and of what no file can hold."""


def _one_line(text: str) -> str:
    if any(unicodedata.category(character) in _BREAKS for character in text):
        raise ValueError(f"{text!r} holds a line break or another control character, which lists of names cannot hold")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
"""A name for people: other programs read lists with one of them a line."""


class LayerSpec(Frozen):
    """One layer: block name, the layers it reads (-1 is the one before) and the block's own numbers.

    Attributes:
        block: a name in `models.build.BLOCKS`.
        inputs: numbers of earlier layers; -1 is the one before (the image for layer 0).
        channels: of the output.
        hidden: channels inside residual units; None for as many as outside.
        kernel: side of the convolution or pooling window, px.
        kernels: sides of several pooling windows.
        stride: of the convolution or pooling.
        padding: on each side; None keeps the size at stride 1.
        groups: parts that a Slice cuts its input into, to give the last; parts of a Conv that do not see each other.
        share: channels inside C2f and C3k2, of those they give; None is a half.
        units: what these two chain; None is `bottleneck`.
        repeats: of what the block repeats.
        shortcut: whether inner units add their input.
        attention: whether the block weighs its channels (squeeze and excitation).
        activation: None is silu; of an Add, linear.
    """

    block: str
    inputs: Annotated[tuple[int, ...], Field(max_length=MAX_LAYERS)] = (-1,)
    channels: _Channels | None = None
    hidden: _Channels | None = None
    kernel: _Kernel | None = None
    kernels: Annotated[tuple[_Kernel, ...], Field(max_length=16)] | None = None
    stride: int | None = Field(None, ge=1, le=MAX_KERNEL)
    padding: int | None = Field(None, ge=0, le=MAX_KERNEL)
    groups: _Channels | None = None
    share: float | None = Field(None, gt=0, le=1)
    units: Units | None = None
    repeats: int | None = Field(None, ge=1, le=MAX_UNITS)
    shortcut: bool | None = None
    attention: bool | None = None
    activation: Activation | None = None


class ModelSpec(Frozen):
    """Architecture, classes and geometry of one model.

    Attributes:
        name: such as `yolov5n`.
        classes: class names in the order of the head's outputs.
        head: how its outputs become boxes, and what it learns by.
        imgsz: side in pixels of the square images it was trained on.
        layers: the network before pruning.
        bn_eps: what every BatchNorm adds to the variance.
        widths: for pruned models, module path -> (in, out) channels of each convolution and BatchNorm.
        removed: module paths of residual units that were cut whole (the identity stands there).
        biased: module paths of convolutions that pruning gave a bias, to fold constants into.
    """

    name: Line
    classes: tuple[Line, ...] = Field(min_length=1, max_length=MAX_CHANNELS)
    head: AnyHead
    imgsz: ImageSide
    layers: tuple[LayerSpec, ...] = Field(max_length=MAX_LAYERS)
    bn_eps: float = Field(1e-3, gt=0, le=1)
    widths: dict[str, tuple[_Channels, _Channels]] = Field(default_factory=dict, max_length=20 * MAX_UNITS)
    removed: Paths = ()
    biased: Paths = ()

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Image pixels per cell, by level, finest first."""
        return self.head.strides

    def loss(self, params: TrainParams, device: torch.device, total: Total | None = None) -> Loss:
        """What its outputs cost in training; see `Head.loss`."""
        return self.head.loss(self.nc, self.imgsz, params, device, total)

    @model_validator(mode="before")
    @classmethod
    def _read_before_heads(cls, data: Any) -> Any:
        return with_head(data)

    @model_validator(mode="after")
    def _layers_follow(self) -> ModelSpec:
        check_order(self.layers)
        units = sum(layer.repeats or 1 for layer in self.layers)
        if units > MAX_UNITS:
            raise ValueError(f"the layers repeat {units} units; no detector has more than {MAX_UNITS}")
        return self

    @model_validator(mode="after")
    def _levels_agree(self) -> ModelSpec:
        levels = len(self.strides)
        if not self.layers or self.layers[-1].block != "Detect" or len(self.layers[-1].inputs) != levels:
            raise ValueError(f"the last layer must be a Detect that reads {levels} layers, one a stride")
        step = max(self.strides)
        if self.imgsz % step:
            raise ValueError(
                f"imgsz {self.imgsz} is not a multiple of {step}, which {self.name} needs; "
                f"{round_up(self.imgsz, step)} is the next one"
            )
        return self


def changed(spec: ModelSpec, **update: object) -> ModelSpec:
    """The spec with other values, checked like one that is read.

    Raises:
        ModelError: naming the value that is not valid.
    """
    try:
        return ModelSpec.model_validate(spec.model_dump() | update)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise ModelError(f"{'.'.join(map(str, first['loc']))}: {reason}") from error


def check_order(layers: Sequence[LayerSpec]) -> None:
    """Make sure that layers read only what is computed before them.

    Raises:
        ValueError: naming the first layer that reads itself, a later one (a cycle), or one that does not exist.
    """
    for index, layer in enumerate(layers):
        for source in layer.inputs:
            if source == -1 or 0 <= source < index:
                continue
            here = f"layer {index} ({layer.block}) reads layer {source}"
            if index <= source < len(layers):
                raise ValueError(f"{here}, which is not before it: a cycle; layers may only read earlier ones")
            raise ValueError(f"{here}, which does not exist; use -1 for the one before, or 0 to {index - 1}")
        if not layer.inputs:
            raise ValueError(f"layer {index} ({layer.block}) reads nothing; -1 is the layer before")


def round_up(value: float, multiple: int) -> int:
    """Smallest multiple of `multiple` that is at least `value`."""
    return math.ceil(value / multiple) * multiple
