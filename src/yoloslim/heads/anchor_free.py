"""The anchor-free heads of YOLOv8, YOLO11 and YOLO26: each cell answers with its distances to the sides of a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from yoloslim.choices import Branch
from yoloslim.heads.base import Head, Loss, Shape, output_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from yoloslim.config import TrainParams
    from yoloslim.heads.base import Total

Towers = Literal["full", "light"]


class AnchorFreeHead(Head):
    """Two towers a level; raw outputs are logits (B, 4 bins + classes, H, W): left, top, right, bottom, then classes.

    A score is the logistic function of a class logit; there is no objectness. A distance, in cells from the cell's
    centre, is the mean of a distribution over 0, 1, ... bins - 1; one bin stands for the distance itself.

    Attributes:
        bins: of each side.
        towers: of the classes: `full` of 3x3 convolutions, `light` of depthwise and 1x1 ones.
        answers: which of two branches detects: `one_to_many`, as training needs it, with NMS; or `one_to_one`, which
            gives each object once and needs none. None where there is only one branch, of the first kind.
    """

    kind: Literal["anchor_free"] = "anchor_free"
    bins: int = Field(16, ge=1, le=256)
    towers: Towers = "full"
    answers: Branch | None = None

    def build(self, channels: Sequence[int], classes: int) -> nn.Module:
        """See `Head.build`: of two branches the outputs of both, one-to-many first."""
        from yoloslim.heads.anchor_free_network import AnchorFreeNetwork

        return AnchorFreeNetwork(channels, classes, self.bins, self.towers, self.answers)

    def initialise(self, module: nn.Module, classes: int) -> None:
        """See `Head.initialise`."""
        from yoloslim.heads.anchor_free_network import initialise

        initialise(module, classes, self.strides)

    def outputs(self, classes: int, imgsz: int) -> dict[str, Shape]:
        """See `Head.outputs`."""
        channels = 4 * self.bins + classes
        return {output_name(stride): (channels, imgsz // stride, imgsz // stride) for stride in self.strides}

    def loss(
        self, classes: int, imgsz: int, params: TrainParams, device: torch.device, total: Total | None = None
    ) -> Loss:
        """See `Head.loss`."""
        from yoloslim.heads.anchor_free_loss import AnchorFreeLoss, gains_of

        return AnchorFreeLoss(self.strides, self.bins, classes, gains_of(params), total)

    def decode(self, outputs: Sequence[Tensor], classes: int, imgsz: int) -> tuple[Tensor, Tensor]:
        """See `Head.decode`."""
        from yoloslim.heads.anchor_free_network import decode

        return decode(outputs, classes, imgsz, self.strides, self.bins)

    @property
    def needs_nms(self) -> bool:
        """See `Head.needs_nms`."""
        return self.answers != "one_to_one"

    def answering(self, outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """See `Head.answering`."""
        levels = len(self.strides)
        return outputs[-levels:] if self.answers == "one_to_one" else outputs[:levels]

    def class_rows(self, numbers: Sequence[int], classes: int) -> dict[str, list[int]]:
        """See `Head.class_rows`."""
        towers = ["cv3", *(["one2one_cv3"] if self.answers else [])]
        return {f"{tower}.{level}.2": list(numbers) for tower in towers for level in range(len(self.strides))}
