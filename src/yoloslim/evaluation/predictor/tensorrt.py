"""TensorRT on an NVIDIA GPU: an engine that was built for it; PyTorch holds what goes in and comes out."""

from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import GraphPredictor, to_numpy

DEVICE = "cuda"


def tensorrt() -> Any:
    """The package.

    Raises:
        DeployError: it is not installed, or there is no GPU for it.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:  # its libraries are of the driver's making, too
        raise DeployError(f"TensorRT is not installed ({error}); pip install 'yoloslim[tensorrt]'") from error
    import torch

    if not torch.cuda.is_available():
        built = f"PyTorch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "PyTorch is the CPU's"
        raise DeployError(
            f"tensorrt needs an NVIDIA GPU that PyTorch can use, and there is none ({built}); onnxruntime runs the "
            "same export on the CPU"
        )
    return tensorrt


def logger(trt: Any) -> Any:
    """What TensorRT tells its errors, which are all the reasons that it gives; attribute `errors` holds their texts."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(text.strip())

        def reason(self) -> str:
            return "; ".join(self.errors[-3:]) or "it gives no reason"

    return Logger()


class TensorRtPredictor(GraphPredictor):
    """Runs an engine on the first GPU that this process sees; its input and outputs are fp32."""

    runtime = "tensorrt-cuda"

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        trt = tensorrt()
        log = logger(trt)
        engine = trt.Runtime(log).deserialize_cuda_engine(self.path.read_bytes())
        if engine is None:
            raise self.cannot_load(
                "it is damaged, or was built by another version of TensorRT or for another GPU, which an engine is "
                f"bound to; build it again on this one (`yoloslim export MODEL --format tensorrt`). TensorRT: "
                f"{log.reason()}"
            )
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = {name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT}
        shapes = {name: [None if side < 0 else side for side in engine.get_tensor_shape(name)] for name in inputs}
        self._outputs = [name for name in names if name not in inputs]
        self.check_graph(shapes, set(self._outputs))
        self._open = self.batch is None
        if self._open:
            self.batch = int(engine.get_tensor_profile_shape(self.graph.input_name, 0)[2][0])
        self._log, self._engine, self._context = log, engine, engine.create_execution_context()
        if self._context is None:
            raise DeployError(f"TensorRT cannot run {self.path}: {log.reason()}; is the GPU's memory taken?")

    def set_threads(self, threads: int) -> None:
        """See `Predictor.set_threads`; a GPU has none."""
        self.threads = threads

    def batch_for(self, count: int) -> int:
        """See `GraphPredictor.batch_for`."""
        return count if self._open else super().batch_for(count)

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        import torch

        self._log.errors.clear()
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # TensorRT waits for everything on the usual one
        with torch.cuda.stream(stream):
            images = torch.from_numpy(batch).to(DEVICE)
            self._context.set_input_shape(self.graph.input_name, tuple(images.shape))
            self._context.set_tensor_address(self.graph.input_name, images.data_ptr())
            found = {}
            for name in self._outputs:
                found[name] = torch.empty(tuple(self._context.get_tensor_shape(name)), device=DEVICE)
                self._context.set_tensor_address(name, found[name].data_ptr())
            done = self._context.execute_async_v3(stream.cuda_stream)
            with suppress(RuntimeError):  # of the GPU; it fails below, with TensorRT's reason
                stream.synchronize()
            if not done or self._log.errors:
                raise DeployError(f"TensorRT failed to run {self.path}: {self._log.reason()}")
            return [to_numpy(found[name]) for name in self.graph.head_names]
