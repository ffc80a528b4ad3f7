"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any

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

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        return [to_numpy(head) for head in self._session.run(self.graph.head_names, {self.graph.input_name: batch})]
