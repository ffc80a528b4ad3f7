"""A predictor as the inference that the tasks run: files in, detections out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloslim.boxes import FILL, Align, Letterbox, letterbox
from yoloslim.cores import thread_count
from yoloslim.data.images import read_image
from yoloslim.errors import DataError
from yoloslim.evaluation import nms
from yoloslim.evaluation.predictor import OpenVinoPredictor, Predictor
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.tasks import Inference

Image = NDArray[np.uint8]
Placed = tuple[Letterbox, int, int]
"""Where an image lies on its canvas, and its own width and height."""


class PredictorInference(Inference):
    """Decodes, letterboxes and suppresses as evaluation does, around any predictor.

    Attributes:
        imgsz: side of a canvas, px.
        fill: grey level around an image.
        batch: images that the graph takes at once, None for any number.
    """

    def __init__(self, predictor: Predictor, options: nms.NmsOptions, threads: int | None = None) -> None:
        """Take a predictor; `threads` is how many images it may work on side by side, None leaves the choice."""
        self._predictor, self._options, self._threads = predictor, options, threads or 0
        self.backend, self.classes = predictor.backend, predictor.classes
        graph = getattr(predictor, "graph", None)  # exported graphs know how their images are to be placed
        self._align: Align = getattr(graph, "letterbox_align", "center")
        self.fill: int = getattr(graph, "letterbox_fill", FILL)
        self.imgsz = predictor.imgsz
        self.batch: int | None = getattr(predictor, "batch", None)
        self.together: int = getattr(predictor, "share", self.batch or 1)

    def read(self, path: Path) -> Image:
        """See `Inference.read`."""
        try:
            return read_image(path)
        except DataError as error:
            raise RunnerError("image", str(error)) from error

    def prepare(self, image: Image) -> tuple[Image, Placed]:
        """See `Inference.prepare`."""
        canvas, box = letterbox(image, self._predictor.imgsz, self._align, self.fill)
        return canvas, (box, image.shape[1], image.shape[0])

    def infer(self, canvas: Image) -> list[nms.Floats]:
        """See `Inference.infer`."""
        return self._predictor.predict(canvas[None])

    def infer_all(self, canvases: Sequence[Image]) -> list[list[nms.Floats]]:
        """Raw outputs as `infer` gives them for each of several canvases (S, S, 3), computed in one call."""
        levels = self._predictor.predict(np.stack(canvases))
        return [[level[i : i + 1] for level in levels] for i in range(len(canvases))]

    def share_cores(self) -> int:
        """See `Inference.share_cores`: each thread computes an image by itself, and waits for no other.

        PyTorch keeps the number of threads of an operation by thread, ONNX Runtime by session, OpenVINO has streams.
        """
        if not getattr(self._predictor, "concurrent", False):
            return 1
        count = thread_count(self._threads, "threads")
        if isinstance(self._predictor, OpenVinoPredictor):
            self._predictor.set_streams(count)
        else:
            self._predictor.set_threads(1)
        return count

    def find(self, heads: Sequence[nms.Floats], place: Placed) -> nms.Floats:
        """See `Inference.find`."""
        box, width, height = place
        rows = nms.detect(heads, self._predictor.head, self._options)[0]
        return box.detections_to_image(rows, width, height)
