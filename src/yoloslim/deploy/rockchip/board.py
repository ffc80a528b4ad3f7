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

COMPATIBLE = Path("/proc/device-tree/compatible")
"""Names the chip of a board, such as `rockchip,rk3588`, words apart by a zero byte."""


class RknnLitePredictor(RknnPredictor):
    """Runs a model on the NPU of this machine, one image at a time."""

    runtime = "rockchip-rknnlite"

    def __init__(self, path: Path, graph: Manifest, result: RknnResult) -> None:
        """Open the model; see `RknnPredictor`."""
        super().__init__(path, graph, result)
        self.batch = 1

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        try:
            from rknnlite.api import RKNNLite
        except ImportError as error:
            raise self.cannot_load(
                f"Python cannot import rknnlite ({error}); on the board: pip install rknn-toolkit-lite2; elsewhere the "
                "simulator runs it (--runtime rknn)"
            ) from error
        chip = self.result.chip
        here = chip_here()
        if here and here != chip:
            raise self.cannot_load(f"it was compiled for {chip}, this is an {here}: yoloslim compile --target {here}")
        self._model = RKNNLite(verbose=False)
        for what, status in (
            ("load_rknn", self._model.load_rknn(str(self.path))),
            ("init_runtime", self._model.init_runtime()),
        ):
            if status:
                raise self.cannot_load(
                    f"rknnlite's {what} returned {status}; the chip, or its runtime librknnrt.so, is another than "
                    f"{chip} with rknn-toolkit2 {self.result.toolkit}"
                )

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        found = self._model.inference(inputs=[batch])
        if found is None:
            raise DeployError(f"rknnlite failed to run {self.path}")
        return self.heads(found, len(batch))


def chip_here() -> str:
    """The chip of this board, as compilers name it; empty if this is none of Rockchip's."""
    try:
        words = COMPATIBLE.read_bytes().decode("ascii", "replace").split("\0")
    except OSError:
        return ""
    return next((word.removeprefix("rockchip,") for word in reversed(words) if word.startswith("rockchip,r")), "")
