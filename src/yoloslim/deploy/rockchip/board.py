"""A model compiled for a Rockchip NPU, on the board itself, through Rockchip's rknn-toolkit-lite2.

No board was at hand: it follows Rockchip's documentation and is tested against a fake of it.
"""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from yoloslim.deploy.manifest import Manifest
from yoloslim.deploy.rockchip.compilation import RknnResult
from yoloslim.deploy.rockchip.predictor import RknnPredictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.rknn_session import RknnSession


class RknnLitePredictor(RknnPredictor):
    """Runs a model on the NPU of this machine, one image at a time."""

    runtime = "rockchip-rknnlite"

    def __init__(self, path: Path, graph: Manifest, result: RknnResult) -> None:
        """Open the model; see `RknnPredictor`."""
        super().__init__(path, graph, result)
        self.batch = 1

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        chip, toolkit = self.result.chip, self.result.toolkit
        try:
            self._session = RknnSession(str(self.path), chip, self.shapes)
        except RunnerError as error:
            raise self.cannot_load(f"{error} (compiled by rknn-toolkit2 {toolkit})") from error

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        try:
            return self._session.infer(batch)
        except RunnerError as error:
            raise DeployError(f"{self.path}: {error}") from error
