"""LiteRT on the CPU: a `.tflite` file, its operators computed by XNNPACK."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import GraphPredictor, to_numpy
from yoloslim.quiet import silent

_IDENTIFIER = b"TFL3"
"""Of the format, behind four bytes; LiteRT itself does not look at it."""


class LiteRtPredictor(GraphPredictor):
    """Runs a graph in LiteRT, one image at a time; its input and outputs are fp32, the input NCHW."""

    runtime = "litert-cpu"

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise DeployError(f"LiteRT is not installed ({error}); pip install 'yoloslim[litert]'") from error
        with self.path.open("rb") as stream:
            if stream.read(8)[4:] != _IDENTIFIER:
                raise self.cannot_load("it is no .tflite file")
        try:
            with silent():  # it says on every load that it uses XNNPACK
                self._interpreter = Interpreter(str(self.path), num_threads=self.threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise self.cannot_load(error) from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.check_graph({each["name"]: [*map(int, each["shape"])] for each in inputs}, {o["name"] for o in outputs})
        places = {each["name"]: each["index"] for each in (*inputs, *outputs)}
        self._input, self._outputs = places[self.graph.input_name], [places[name] for name in self.graph.head_names]

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        self._interpreter.set_tensor(self._input, batch)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise DeployError(f"LiteRT failed to run {self.path}: {error}") from error
        shapes = self.head.outputs(len(self.classes), self.imgsz).values()
        found = (self._interpreter.get_tensor(place) for place in self._outputs)
        return [to_numpy(_channels_first(head, shape)) for head, shape in zip(found, shapes, strict=True)]


def _channels_first(head: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """An output in the layout of its head: the converter leaves those of four sides as (1, H, W, C)."""
    last = (*shape[1:], shape[0])
    return head.transpose(0, 3, 1, 2) if len(shape) == 3 and head.shape[1:] == last else head
