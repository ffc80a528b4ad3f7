"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import GraphPredictor, to_numpy


def open_session(model: Path | bytes, threads: int) -> onnxruntime.InferenceSession:
    """A graph on the CPU, whose threads sleep between calls.

    By default they wait for the next call by spinning, which takes the cores from whatever comes between.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # x86 without VNNI adds products of 8 bits in pairs of 16, which overflow: there they are computed unsigned
    options.add_session_config_entry("session.x64quantprecision", "1")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class OnnxPredictor(GraphPredictor):
    """Runs an ONNX file in ONNX Runtime."""

    runtime = "onnxruntime-cpu"
    concurrent = True

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        try:
            self._session = open_session(self.path, self.threads)
        except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
            raise self.cannot_load(error) from error
        shapes = {
            node.name: [side if isinstance(side, int) else None for side in node.shape]
            for node in self._session.get_inputs()
        }
        self.check_graph(shapes, {node.name for node in self._session.get_outputs()})
        listed = [node for node in self._session.get_outputs() if len(node.shape) == 2]
        self._lists = len(self.graph.head_names) == len(listed) == 1  # (m, 7), the number of the image first

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        found = [to_numpy(head) for head in self._session.run(self.graph.head_names, {self.graph.input_name: batch})]
        return [_by_image(found[0], len(batch))] if self._lists else found


def _by_image(listed: Floats, count: int) -> Floats:
    """Detections (m, 7) in a list, the number of the image first, as (count, k, 6); the empty rest has a score of 0."""
    rows = [listed[listed[:, 0] == number, 1:] for number in range(count)]
    table = np.zeros((count, max(1, *map(len, rows)), 6), np.float32)
    for place, mine in zip(table, rows, strict=True):
        place[: len(mine)] = mine
    return table
