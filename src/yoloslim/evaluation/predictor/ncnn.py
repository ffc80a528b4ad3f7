"""ncnn on the CPU: a `.param` file beside a `.bin` of the same stem."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import GraphPredictor, to_numpy


class NcnnPredictor(GraphPredictor):
    """Runs a graph in ncnn, one image at a time (ncnn knows no batches), at fp32 on every CPU."""

    runtime = "ncnn-cpu"

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        try:
            import ncnn
        except ImportError as error:
            raise DeployError(f"ncnn is not installed ({error}); pip install 'yoloslim[runtimes]'") from error
        weights = self.path.with_suffix(".bin")
        if not weights.is_file():
            raise self.cannot_load(f"its weights {weights.name} are missing")
        net = ncnn.Net()
        net.opt.num_threads = self.threads
        net.opt.use_vulkan_compute = False
        # ARM chips would compute in half precision without being asked.
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        if net.load_param(str(self.path)) or net.load_model(str(weights)):
            raise self.cannot_load("it is no ncnn model, or was cut short")
        self._net, self._mat = net, ncnn.Mat
        shape = [1, *_input_sides(self.path)]
        self.check_graph(dict.fromkeys(net.input_names(), shape), set(net.output_names()))

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        extractor = self._net.create_extractor()
        extractor.input(self.graph.input_name, self._mat(batch[0]))
        return [self._head(extractor, name) for name in self.graph.head_names]

    def _head(self, extractor: Any, name: str) -> Floats:
        status, values = extractor.extract(name)
        if status:
            raise DeployError(f"ncnn failed to compute {name} of {self.path} (status {status}); out of memory?")
        return to_numpy(np.array(values)[None])


def _input_sides(param: Path) -> list[int | None]:
    """Channels, height and width that the file's Input layer states (keys 2, 1, 0), None where it does not."""
    for line in param.read_text(encoding="utf-8").splitlines():
        kind, *words = line.split() or [""]
        if kind == "Input":
            sides = dict(word.split("=", 1) for word in words if "=" in word)
            return [int(sides[key]) if key in sides else None for key in "210"]
    return [None, None, None]
