"""What a detection head is: one class, whose fields are its specification and whose methods are all that it does.

The fields are written into model files, manifests and bundles under `head`; `kind` says which class reads them. What
needs PyTorch or ONNX imports it inside the method, since predictors of exported graphs do without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto, NodeProto
    from torch import Tensor, nn

    from yoloslim.config import TrainParams

    Total = Callable[[Tensor], Tensor]

Shape = tuple[int, ...]
Stride = Annotated[int, Field(ge=1, le=1024)]
USUAL_IMGSZ = 640
"""Image side that architectures are made for, px."""


class Frozen(BaseModel):
    """A record that cannot change and knows all its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Loss(Protocol):
    """What a head's raw outputs cost; a callable without weights of its own.

    Attributes:
        parts: names of its terms, as losses are reported (`box` is the column `box_loss`).
    """

    @property
    def parts(self) -> tuple[str, ...]: ...  # noqa: D102

    def __call__(self, outputs: Sequence[Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a batch, or of this process's part of it.

        Args:
            outputs: what the head gives in training mode.
            targets: (n, 6), image, class, centre x, y, width, height as shares of the image; on any device.

        Returns:
            The loss (a scalar, summed over the images of the whole batch), and its `parts`, means over images,
            detached. Where processes share a batch, theirs add up to those of one process with the whole batch.
        """
        ...

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Called before each epoch, the first being 0, for weights that change with time."""
        ...

    def distance(self, student: Sequence[Tensor], teacher: Sequence[Tensor], temperature: float) -> Tensor:
        """How far a student's detections are from a teacher's, a scalar, mean over images; see `distillation`.

        Raises:
            TrainError: this kind of head cannot be taught so.
        """
        ...

    def certainty(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """How sure raw outputs are that a cell has an object, by level, (B, h, w) from 0 to 1."""
        ...


class Head(Frozen, ABC):
    """A detection head. A subclass names its kind, adds its fields and says what follows from them.

    Attributes:
        kind: of the class, and of `runner/heads/KIND.py`, which decodes its outputs in NumPy.
        strides: image pixels per cell, by level, finest first.
    """

    structure: ClassVar[str] = "the graph's own outputs"

    kind: str
    strides: tuple[Stride, ...] = Field(min_length=1, max_length=16)

    @abstractmethod
    def build(self, channels: Sequence[int], classes: int) -> nn.Module:
        """The network of the head, freshly initialised.

        Args:
            channels: of the features of each level.
            classes: how many it tells apart.

        Returns:
            A module that maps features (B, C, h, w) by level to the raw outputs that `outputs` describes. In training
            mode it may give more, for its loss alone.
        """

    @abstractmethod
    def initialise(self, module: nn.Module, classes: int) -> None:
        """Set the biases that a head is born with, in place, without a random number."""

    @abstractmethod
    def outputs(self, classes: int, imgsz: int) -> dict[str, Shape]:
        """Name and shape, without the batch, of each raw output of an exported graph, finest level first."""

    @abstractmethod
    def loss(
        self, classes: int, imgsz: int, params: TrainParams, device: torch.device, total: Total | None = None
    ) -> Loss:
        """The training objective.

        Args:
            classes: how many.
            imgsz: side of the training images, px.
            params: weights of the terms, section `train` of params.yaml.
            device: where outputs are.
            total: sums a tensor over the processes that share a batch; None when there is one.
        """

    @abstractmethod
    def decode(self, outputs: Sequence[Tensor], classes: int, imgsz: int) -> tuple[Tensor, Tensor]:
        """Raw outputs of square images to boxes (B, n, 4), `xyxy` in px, and scores (B, n, classes) in [0, 1].

        In PyTorch, and traceable: the number of classes and the side of the images in px are given, so that sizes are
        constants of the graph.
        """

    @abstractmethod
    def class_rows(self, numbers: Sequence[int], classes: int) -> dict[str, list[int]]:
        """What a head of other classes keeps of its network.

        Args:
            numbers: of the classes that it keeps, in their new order.
            classes: how many it has now.

        Returns:
            Path of a convolution inside the head's module -> its output channels that are kept, in order.
        """

    def answering(self, outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Of all that its network gives, the raw outputs that detect; the others are for training."""
        return outputs

    def fitted(self, sizes: Tensor, imgsz: int, params: TrainParams, seed: int, made_for: int | None = None) -> Head:
        """The head that suits a data set.

        Args:
            sizes: (n, 2), width and height of the training boxes on the canvas, px.
            imgsz: side of the network's input, px.
            params: section `train` of params.yaml.
            seed: of whatever is drawn.
            made_for: side of the images that this head was trained at, px; None for a fresh one.
        """
        return self

    def raw_outputs(self, graph: ModelProto, classes: int) -> list[tuple[NodeProto, Shape]]:
        """The nodes of an ONNX graph that make the raw outputs, with shapes (batch first, rows third), in any order.

        By default those of the graph's own outputs; `structure` says in words what is looked for. A head that can be
        told by its structure also finds them inside graphs of other tools, which decode behind it.
        """
        makers, shapes = {output: node for node in graph.graph.node for output in node.output}, shapes_of(graph)
        return [(makers[output.name], shapes[output.name]) for output in graph.graph.output]

    @property
    def needs_nms(self) -> bool:
        """Whether it may find an object several times, so that worse boxes must be suppressed."""
        return True

    def mindx(self) -> dict[str, str] | None:
        """Settings with which MindX's YOLO post-processor decodes this head; None where it cannot."""
        return None

    def facts(self) -> dict[str, Any]:
        """The specification as JSON has it: what `runner.heads` takes."""
        return self.model_dump(mode="json")


def output_name(stride: int) -> str:
    """The name of a level's raw output, as the literature has it: 8 pixels a cell is level 3."""
    return f"head_p{stride.bit_length() - 1}"


def shapes_of(graph: ModelProto) -> dict[str, Shape]:
    """Shape of every tensor of an ONNX graph that can be known."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(graph).graph
    values = [*inferred.value_info, *inferred.output, *inferred.input]
    return {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}


HEADS: dict[str, type[Head]] = {}
"""Kind -> class."""


def register_head(head: type[Head]) -> None:
    """Make a kind of head known, so that files and architectures can name it."""
    HEADS[head.model_fields["kind"].default] = head


def read_head(data: Any) -> Any:
    """A head from its specification; whatever else comes is left for pydantic to refuse.

    Raises:
        ValueError: no such kind, or a field that is missing, unknown or out of range.
    """
    if not isinstance(data, Mapping):
        return data
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in HEADS:
        raise ValueError(f"head kind {str(kind)[:40]!r} is not known; known: {', '.join(HEADS)}")
    return HEADS[kind].model_validate(data)


AnyHead = Annotated[SerializeAsAny[Head], BeforeValidator(read_head)]
"""The type of a pydantic field that holds any kind of head."""
