"""What a model is, apart from its weights: written into every model file, read back to build it."""

import math
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from yoloslim.heads.base import Frozen

_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Anchor = tuple[_Length, _Length]
Activation = Literal["silu", "leaky", "mish", "relu", "hardswish", "linear"]
Scale = Annotated[float, Field(ge=1, le=2)]
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


class BoxDecoding(Frozen):
    """How raw logits t become boxes; s is the logistic function, k the level's `scale_x_y`.

    The centre is (k s(t_xy) - (k - 1) / 2 + cell) * stride in both kinds, so that it can lie (k - 1) / 2 cells
    outside its own cell. The size is (2 s(t_wh))^2 * anchor for `yolov5`, exp(t_wh) * anchor for `darknet`.

    Attributes:
        kind: see above.
        scale_x_y: k by level; empty stands for 2 (`yolov5`) or 1 (`darknet`) everywhere.
    """

    kind: Literal["yolov5", "darknet"] = "yolov5"
    scale_x_y: tuple[Scale, ...] = ()

    def scales(self, levels: int) -> tuple[float, ...]:
        """`scale_x_y` of each of so many levels."""
        return self.scale_x_y or ((2.0 if self.kind == "yolov5" else 1.0),) * levels


YOLOV5_BOXES = BoxDecoding()
EXP_LIMIT = 10.0
"""Largest logit that is given to exp: 22,026 times the anchor is more than any image, and still finite."""


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
        groups: parts that a Slice cuts its input into, to give the last.
        share: channels inside C2f and C3k2, of those they give; None is a half.
        units: what these two chain; None is `bottleneck`.
        repeats: of what the block repeats.
        shortcut: whether inner units add their input.
        attention: whether the block weighs its channels (squeeze and excitation).
        activation: None is silu.
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
        anchors: width and height in pixels, by level and anchor.
        strides: image pixels per cell, by level, finest first.
        imgsz: side in pixels of the square images it was trained on.
        layers: the network before pruning.
        decoding: how logits become boxes.
        bn_eps: what every BatchNorm adds to the variance.
        widths: for pruned models, module path -> (in, out) channels of each convolution and BatchNorm.
        removed: module paths of residual units that were cut whole (the identity stands there).
        biased: module paths of convolutions that pruning gave a bias, to fold constants into.
    """

    name: Line
    classes: tuple[Line, ...] = Field(min_length=1, max_length=MAX_CHANNELS)
    anchors: Annotated[tuple[Annotated[tuple[Anchor, ...], Field(max_length=64)], ...], Field(max_length=16)]
    strides: tuple[Annotated[int, Field(ge=1, le=1024)], ...]
    imgsz: ImageSide
    layers: tuple[LayerSpec, ...] = Field(max_length=MAX_LAYERS)
    decoding: BoxDecoding = YOLOV5_BOXES
    bn_eps: float = Field(1e-3, gt=0, le=1)
    widths: dict[str, tuple[_Channels, _Channels]] = Field(default_factory=dict, max_length=20 * MAX_UNITS)
    removed: Paths = ()
    biased: Paths = ()

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @model_validator(mode="after")
    def _layers_follow(self) -> "ModelSpec":
        check_order(self.layers)
        units = sum(layer.repeats or 1 for layer in self.layers)
        if units > MAX_UNITS:
            raise ValueError(f"the layers repeat {units} units; no detector has more than {MAX_UNITS}")
        return self

    @model_validator(mode="after")
    def _levels_agree(self) -> "ModelSpec":
        counts = [len(level) for level in self.anchors]
        if len(counts) != len(self.strides) or len(set(counts)) != 1 or not counts[0]:
            raise ValueError(f"{counts} anchors by level do not fit strides {list(self.strides)}; each needs as many")
        if len(self.decoding.scales(len(counts))) != len(counts):
            raise ValueError(
                f"scale_x_y {list(self.decoding.scale_x_y)} does not fit strides {list(self.strides)}; give one a level"
            )
        if not self.layers or self.layers[-1].block != "Detect" or len(self.layers[-1].inputs) != len(counts):
            raise ValueError(f"the last layer must be a Detect that reads {len(counts)} layers, one a stride")
        step = max(self.strides)
        if self.imgsz % step:
            raise ValueError(
                f"imgsz {self.imgsz} is not a multiple of {step}, which {self.name} needs; "
                f"{round_up(self.imgsz, step)} is the next one"
            )
        return self


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
