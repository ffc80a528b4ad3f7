"""OpenVINO on the CPU. It reads its own IR (`.xml` beside `.bin`) and ONNX alike."""

import threading
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from yoloslim.choices import Precision
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import GraphDescription, GraphPredictor, Preprocess, divide_by_255, to_numpy

_HINTS = {"fp32": "f32", "bf16": "bf16"}


@cache
def openvino_core() -> Any:
    """The process's one `openvino.Core`, which stays until its end.

    On a CPU with AMX every Core gives the thread a stack for signals, and takes it away when it goes; of several that
    do not go in the reverse order of their coming, one leaves a stack that is gone, and the next Ctrl-C ends the
    process by SIGSEGV.

    Raises:
        DeployError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise DeployError(f"OpenVINO is not installed ({error}); pip install 'yoloslim[runtimes]'") from error
    return openvino.Core()


class OpenVinoPredictor(GraphPredictor):
    """Runs a graph in OpenVINO, at fp32 unless asked otherwise.

    Left to itself, OpenVINO takes bf16 where the CPU has it, and fp32 where bf16 is asked for and the CPU has none, and
    says neither; the latter is refused here. An int8 graph computes the layers that were not quantised at
    `precision`.
    """

    runtime = "openvino-cpu"
    concurrent = True

    def __init__(
        self,
        path: Path,
        graph: GraphDescription,
        threads: int | None = None,
        precision: Precision = "fp32",
        preprocess: Preprocess = divide_by_255,
        preprocessing: str = "float/255",
    ) -> None:
        self._precision = precision
        self._streams = 1
        self._of_thread = threading.local()  # its own request
        super().__init__(path, graph, threads, preprocess, preprocessing)
        self.backend += "-bf16" if precision == "bf16" else ""

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        core = openvino_core()
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
            "INFERENCE_NUM_THREADS": max(self.threads, self._streams),
            "NUM_STREAMS": self._streams,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            model = core.read_model(self.path)
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise self.cannot_load(str(error).strip()) from error
        taken = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if taken != _HINTS[self._precision]:
            raise DeployError(
                f"{self.runtime} computes in {taken} on this CPU when {self._precision} is asked for; "
                "leave the precision out to have fp32"
            )
        shapes = {
            port.get_any_name(): [side.get_length() if side.is_static else None for side in port.partial_shape]
            for port in model.inputs
        }
        self.check_graph(shapes, {name for port in model.outputs for name in port.get_names()})

    def set_threads(self, threads: int) -> None:
        """See `GraphPredictor.set_threads`."""
        self._load_for(threads, 1)

    def set_streams(self, streams: int) -> None:
        """Let so many threads call `predict` at once, each with a core of its own; loads the graph again for that."""
        self._load_for(1, streams)

    def _load_for(self, threads: int, streams: int) -> None:
        if (threads, streams) != (self.threads, self._streams):
            self.threads, self._streams = threads, streams
            self.load()

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        if getattr(self._of_thread, "compiled", None) is not self._compiled:
            self._of_thread.compiled, self._of_thread.request = self._compiled, self._compiled.create_infer_request()
        results = self._of_thread.request.infer({self.graph.input_name: batch}, share_inputs=True)
        return [to_numpy(results[name]) for name in self.graph.head_names]
