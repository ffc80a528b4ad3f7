"""A model compiled for a Rockchip NPU as a predictor, and its simulator on this CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloslim.deploy.manifest import Manifest
from yoloslim.deploy.rockchip.compilation import RknnResult
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import GraphPredictor, Images, to_numpy
from yoloslim.toolchains import TOOLCHAINS, Session

_TIMEOUT_S = 3600


class RknnPredictor(GraphPredictor):
    """What simulator and board share: the chip takes bytes and divides them itself."""

    def __init__(self, path: Path, graph: Manifest, result: RknnResult) -> None:
        """Open the model.

        Args:
            path: the .rknn file.
            graph: manifest of the graph beside it.
            result: what was compiled.

        Raises:
            DeployError: what runs it is not installed, or refused.
        """
        self.result = result
        super().__init__(path, graph, None, _as_bytes, "uint8/255 on the chip")
        self.backend = f"{self.runtime}-{result.precision}"

    def set_threads(self, threads: int) -> None:
        """The NPU computes, or a simulator that chooses its own."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the outputs, without the batch."""
        assert isinstance(self.graph, Manifest)
        return [output.shape[1:] for output in self.graph.heads]

    def heads(self, found: Sequence[NDArray[Any]], count: int) -> list[Floats]:
        """Outputs in the graph's order, in the shapes of its manifest: compilers drop sides of 1."""
        return [to_numpy(head.reshape(count, *shape)) for head, shape in zip(found, self.shapes, strict=True)]


class RknnSimulator(RknnPredictor):
    """Computes what the NPU would, far slower; its latency says nothing of a board.

    The simulator cannot load an .rknn: it compiles the same graph once more, which the folder holds for it.
    """

    runtime = "rknn-simulator"
    batch = None

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        folder = self.path.parent.absolute()
        quantized = str(folder) if self.result.precision != "fp16" else ""
        assert isinstance(self.graph, Manifest)
        source = str(folder / self.graph.file)
        self._session = Session(TOOLCHAINS["rockchip"])
        self._session.ask("simulate", (), _TIMEOUT_S, source=source, folder=quantized, chip=self.result.chip)

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        _, found = self._session.ask("run", [batch], _TIMEOUT_S)
        return self.heads(found, len(batch))


def _as_bytes(images: Images) -> Images:
    return np.ascontiguousarray(images)
