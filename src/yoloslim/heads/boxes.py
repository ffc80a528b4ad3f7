"""The head of a graph that another program exported with its decoding inside: it can be run, and nothing else."""

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

Form = Literal["objectness", "transposed", "final"]


class BoxesHead(Head):
    """Boxes and probabilities, as `runner.heads.boxes` reads them.

    It is not among the kinds that files may name: nothing of ours is made of it.

    Attributes:
        form: how they lie in the output.
        classes: how many there are.
    """

    kind: Literal["boxes"] = "boxes"
    strides: tuple[Stride, ...] = (32,)
    form: Form
    classes: int = Field(ge=1)

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
            "a graph of another program, which decodes inside, can only be run; import its weights instead"
        )
