"""The head of a graph that decodes inside, another program's or an export of ours: it can be run, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NoReturn

from pydantic import Field

from yoloslim.errors import DeployError
from yoloslim.heads.base import Head, Loss, Shape, Stride

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from yoloslim.config import TrainParams
    from yoloslim.heads.base import Total

Form = Literal["objectness", "transposed", "pair", "final"]


class BoxesHead(Head):
    """Boxes and probabilities, as `runner.heads.boxes` reads them.

    It is not among the kinds that files may name: no model is made of it.

    Attributes:
        form: how they lie in the outputs.
        classes: how many there are.
        rule: of a `final` form, how detections were chosen inside, in words.
        least: score that they have at least.
        once: whether each object is found once, as one-to-one branches do, so that nothing is to be suppressed.
    """

    kind: Literal["boxes"] = "boxes"
    strides: tuple[Stride, ...] = (32,)
    form: Form
    classes: int = Field(ge=1)
    rule: str = "by the graph's own rule"
    least: float = 0.0
    once: bool = False

    @property
    def needs_nms(self) -> bool:
        """See `Head.needs_nms`."""
        return self.form != "final" and not self.once

    def build(self, channels: Sequence[int], classes: int) -> nn.Module:
        """See `Head.build`; there is nothing to build."""
        self._refuse()

    def initialise(self, module: nn.Module, classes: int) -> None:
        """See `Head.initialise`."""
        self._refuse()

    def outputs(self, classes: int, imgsz: int) -> dict[str, Shape]:
        """See `Head.outputs`; how many boxes there are, the graph says."""
        self._refuse()

    def loss(
        self, classes: int, imgsz: int, params: TrainParams, device: torch.device, total: Total | None = None
    ) -> Loss:
        """See `Head.loss`."""
        self._refuse()

    def decode(self, outputs: Sequence[Tensor], classes: int, imgsz: int) -> tuple[Tensor, Tensor]:
        """See `Head.decode`; in NumPy alone."""
        self._refuse()

    def class_rows(self, numbers: Sequence[int], classes: int) -> dict[str, list[int]]:
        """See `Head.class_rows`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DeployError(
            "a graph that decodes inside can only be run; take the model that it was made of, or export raw heads"
        )
