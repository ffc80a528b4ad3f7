"""The anchor heads of YOLOv3, YOLOv4 and YOLOv5: each cell answers for a few box sizes, with an objectness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from yoloslim.heads.base import USUAL_IMGSZ, Frozen, Head, Loss, Shape, output_name

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto, NodeProto
    from torch import Tensor, nn

    from yoloslim.config import TrainParams
    from yoloslim.heads.base import Total

_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Anchor = tuple[_Length, _Length]
Anchors = Annotated[tuple[Annotated[tuple[Anchor, ...], Field(max_length=64)], ...], Field(max_length=16)]
Scale = Annotated[float, Field(ge=1, le=2)]


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


class AnchorHead(Head):
    """One 1x1 convolution a level; raw outputs are logits (B, anchors, H, W, 5 + classes).

    The five are t_x, t_y, t_w, t_h and objectness; a score is the product of the logistic functions of objectness and
    class.

    Attributes:
        anchors: width and height in px of the network's input, by level and anchor.
        decoding: how logits become boxes.
    """

    structure: ClassVar[str] = (
        "Transpose nodes with perm [0, 1, 3, 4, 2] behind a Reshape, giving (B, anchors, H, W, 5 + classes)"
    )

    kind: Literal["anchor"] = "anchor"
    anchors: Anchors
    decoding: BoxDecoding = YOLOV5_BOXES

    @model_validator(mode="after")
    def _levels_agree(self) -> AnchorHead:
        counts = [len(level) for level in self.anchors]
        if len(counts) != len(self.strides) or len(set(counts)) != 1 or not counts[0]:
            raise ValueError(f"{counts} anchors by level do not fit strides {list(self.strides)}; each needs as many")
        if len(self.scales) != len(counts):
            raise ValueError(
                f"scale_x_y {list(self.decoding.scale_x_y)} does not fit strides {list(self.strides)}; give one a level"
            )
        return self

    @property
    def scales(self) -> tuple[float, ...]:
        """`scale_x_y` by level."""
        return self.decoding.scales(len(self.anchors))

    def build(self, channels: Sequence[int], classes: int) -> nn.Module:
        """See `Head.build`."""
        from yoloslim.heads.anchor_network import Detect

        return Detect(channels, len(self.anchors[0]), classes)

    def initialise(self, module: nn.Module, classes: int) -> None:
        """See `Head.initialise`."""
        from yoloslim.heads.anchor_network import initialise

        initialise(module, self, classes)

    def outputs(self, classes: int, imgsz: int) -> dict[str, Shape]:
        """See `Head.outputs`."""
        return {
            output_name(stride): (len(sizes), imgsz // stride, imgsz // stride, 5 + classes)
            for sizes, stride in zip(self.anchors, self.strides, strict=True)
        }

    def loss(
        self, classes: int, imgsz: int, params: TrainParams, device: torch.device, total: Total | None = None
    ) -> Loss:
        """See `Head.loss`."""
        from yoloslim.heads.anchor_loss import AnchorLoss, Gains

        return AnchorLoss(self, classes, imgsz, Gains.of(params), device, total)

    def decode(self, outputs: Sequence[Tensor], classes: int, imgsz: int) -> tuple[Tensor, Tensor]:
        """See `Head.decode`."""
        from yoloslim.heads.anchor_network import decode

        return decode(self, outputs, classes, imgsz)

    def class_rows(self, numbers: Sequence[int], classes: int) -> dict[str, list[int]]:
        """See `Head.class_rows`: box, objectness and these classes, for every anchor."""
        each = [*range(5), *(5 + number for number in numbers)]
        rows = [anchor * (5 + classes) + row for anchor in range(len(self.anchors[0])) for row in each]
        return {f"m.{level}": rows for level in range(len(self.strides))}

    def fitted(
        self, sizes: Tensor, imgsz: int, params: TrainParams, seed: int, made_for: int | None = None
    ) -> AnchorHead:
        """See `Head.fitted`: anchors that nearly every box can match, unless `train.auto_anchor` is off.

        Those of a trained head stay wherever they do: a network sees pixels, not shares of an image, so its boxes
        hold at any image size, and other anchors would undo what it has learnt of them.
        """
        from yoloslim.heads.anchor_fit import fit_anchors, suits

        if not params.auto_anchor:
            return self
        if made_for and suits(sizes, self.anchors, params.anchor_t):
            return self
        factor = USUAL_IMGSZ / (made_for or USUAL_IMGSZ)
        usual = tuple(tuple((factor * w, factor * h) for w, h in level) for level in self.anchors)
        anchors = fit_anchors(sizes, usual, imgsz, params.anchor_t, seed)
        return AnchorHead(strides=self.strides, anchors=anchors, decoding=self.decoding)

    def raw_outputs(self, graph: ModelProto, classes: int) -> list[tuple[NodeProto, Shape]]:
        """See `Head.raw_outputs`."""
        from yoloslim.heads.anchor_graph import raw_outputs

        return raw_outputs(graph, classes)

    def mindx(self) -> dict[str, str] | None:
        """See `Head.mindx`: the post-processor decodes YOLOv5's boxes."""
        if self.decoding.kind != "yolov5":
            return None
        biases = [f"{value:g}" for level in self.anchors for anchor in level for value in anchor]
        return {
            "BIASES_NUM": str(len(biases)),
            "BIASES": ",".join(biases),
            "YOLO_TYPE": str(len(self.strides)),
            "ANCHOR_DIM": str(len(self.anchors[0])),
        }


def with_head(data: Any) -> Any:
    """Fields of a model, an architecture or a manifest, in which anchors, strides and decoding may stand by themselves.

    So they were written before there were other heads, and architectures of anchor heads still are.
    """
    if not isinstance(data, Mapping) or "head" in data:
        return data
    flat = {key: value for key, value in data.items() if key in ("anchors", "strides", "decoding")}
    rest = {key: value for key, value in data.items() if key not in flat}
    return {**rest, "head": {"kind": "anchor", **flat}} if flat else data
