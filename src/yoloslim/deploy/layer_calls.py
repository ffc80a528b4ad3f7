"""Convolutions by themselves, each with the activation behind it, in every runtime that latencies are measured on.

A whole network is converted by the tool of its runtime, which takes seconds. Hundreds of single layers are timed, so
ncnn's and LiteRT's files are written here: what they hold is what the converters write of such layers.
"""

import copy
import io
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from yoloslim.choices import LatencyRuntime
from yoloslim.errors import DeployError
from yoloslim.evaluation.processor import processor
from yoloslim.extras import EXTRAS
from yoloslim.quiet import silent

Call = Callable[[], object]
"""Runs a layer once."""


@dataclass(frozen=True)
class LayerRuntime:
    """How a runtime runs single layers.

    Attributes:
        package: its distribution, whose version is part of what latencies are known by.
        open: makes a call of some convolutions in a row on an input (1, C, H, W), with a number of CPU threads; each
            is followed by SiLU where that is asked for.
    """

    package: str
    open: Callable[[Sequence[nn.Conv2d], Tensor, int, bool], Call]


def open_layers(
    layers: Sequence[nn.Conv2d], x: Tensor, runtime: LatencyRuntime, threads: int, activated: bool = True
) -> Call:
    """A call of convolutions in a row.

    Args:
        layers: each reads what the one before it gives; unchanged.
        x: (1, C, H, W) what the first one reads.
        runtime: what runs them, on the CPU.
        threads: CPU threads; PyTorch's are the process's, see `torch_threads`.
        activated: whether SiLU stands behind each.

    Raises:
        DeployError: the runtime is not installed.
    """
    return LAYER_RUNTIMES[runtime].open(layers, x, threads, activated)


def this_machine(threads: int, runtime: LatencyRuntime = "onnxruntime") -> dict[str, Any]:
    """What latencies of this machine are known by.

    Raises:
        DeployError: the runtime is not installed.
    """
    return {"processor": processor(), "runtime": runtime, "version": _version(runtime), "threads": threads}


def _version(runtime: LatencyRuntime) -> str:
    """Version of a runtime.

    Raises:
        DeployError: it is not installed.
    """
    package = LAYER_RUNTIMES[runtime].package
    try:
        return version(package)
    except PackageNotFoundError as error:
        extra = EXTRAS.get(package.replace("-", "_"))
        install = f"yoloslim[{extra}]" if extra else package
        raise DeployError(f"{runtime} is not installed; pip install '{install}'") from error


def _open_torch(layers: Sequence[nn.Conv2d], x: Tensor, threads: int, activated: bool) -> Call:
    network = _network([copy.deepcopy(layer) for layer in layers], activated)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = x.contiguous(memory_format=torch.channels_last)

    def call() -> Tensor:
        with torch.inference_mode():
            return network(x)  # type: ignore[no-any-return]

    return call


def _open_onnx(layers: Sequence[nn.Conv2d], x: Tensor, threads: int, activated: bool) -> Call:
    from yoloslim.evaluation.predictor.onnxruntime import open_session

    session = open_session(_graph(layers, x, activated), threads)
    feed = {"x": np.ascontiguousarray(x.numpy())}
    return lambda: session.run(None, feed)


def _open_openvino(layers: Sequence[nn.Conv2d], x: Tensor, threads: int, activated: bool) -> Call:
    from yoloslim.evaluation.predictor.openvino import openvino_core

    core = openvino_core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    model = core.read_model(_graph(layers, x, activated), b"")
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    feed = {0: np.ascontiguousarray(x.numpy())}
    return lambda: request.infer(feed, share_inputs=True)


def _open_ncnn(layers: Sequence[nn.Conv2d], x: Tensor, threads: int, activated: bool) -> Call:
    try:
        import ncnn
    except ImportError as error:
        raise DeployError(f"ncnn is not installed ({error}); pip install 'yoloslim[runtimes]'") from error
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    with tempfile.TemporaryDirectory() as folder:
        param, weights = Path(folder) / "layer.param", Path(folder) / "layer.bin"
        last = _write_ncnn(layers, x, activated, param, weights)
        if net.load_param(str(param)) or net.load_model(str(weights)):
            raise DeployError("ncnn cannot read a single convolution; is its version one that yoloslim knows?")
    values = np.array(x[0].numpy())

    def call() -> object:
        extractor = net.create_extractor()
        extractor.input("x", ncnn.Mat(values))  # a Mat is a view, and keeps no array alive
        return np.array(extractor.extract(last)[1])

    return call


def _write_ncnn(layers: Sequence[nn.Conv2d], x: Tensor, activated: bool, param: Path, weights: Path) -> str:
    """Write the two files of a chain; gives the name of its output."""
    _, channels, rows, columns = x.shape
    lines = [f"Input x 0 1 x 0={columns} 1={rows} 2={channels}"]
    blob, stored = "x", b""
    for number, layer in enumerate(layers):
        kernel, stride, padding = _sides(layer)
        kind, groups = ("ConvolutionDepthWise", f" 7={layer.groups}") if layer.groups > 1 else ("Convolution", "")
        lines.append(
            f"{kind} c{number} 1 1 {blob} c{number} 0={layer.out_channels} 1={kernel[1]} 11={kernel[0]} "
            f"3={stride[1]} 13={stride[0]} 4={padding[1]} 14={padding[0]} 5=1 6={layer.weight.numel()}{groups}"
        )
        stored += bytes(4) + _plain(layer.weight).tobytes() + _bias(layer).tobytes()  # the four bytes: as float32
        blob = f"c{number}"
        if activated:
            lines.append(f"Swish s{number} 1 1 {blob} s{number}")
            blob = f"s{number}"
    param.write_text("\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines, ""]), encoding="utf-8")
    weights.write_bytes(stored)
    return blob


def _open_litert(layers: Sequence[nn.Conv2d], x: Tensor, threads: int, activated: bool) -> Call:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise DeployError(f"LiteRT is not installed ({error}); pip install 'yoloslim[litert]'") from error
    with silent():  # it says on every load that it uses XNNPACK
        interpreter = Interpreter(model_content=_tflite(layers, x, activated), num_threads=threads)
        interpreter.allocate_tensors()
    reads, gives = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    image = np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())

    def call() -> object:
        interpreter.set_tensor(reads, image)
        interpreter.invoke()
        return interpreter.get_tensor(gives)

    return call


def _tflite(layers: Sequence[nn.Conv2d], x: Tensor, activated: bool) -> bytes:
    """A chain in LiteRT's format, channels last, zeros put around an input by an operator of their own."""
    from yoloslim.deploy.tflite_graph import TfliteGraph

    graph = TfliteGraph(tuple(x.permute(0, 2, 3, 1).shape))
    for layer in layers:
        _, stride, padding = _sides(layer)
        blob = graph.pad(*padding) if any(padding) else graph.last
        weight = _plain(layer.weight).transpose(0, 2, 3, 1)  # out, rows, columns, in; depthwise: 1, rows, columns, out
        depthwise = layer.groups > 1
        graph.convolve(blob, weight.transpose(3, 1, 2, 0) if depthwise else weight, _bias(layer), stride, depthwise)
        if activated:
            graph.silu()
    return graph.serialise()


def _network(layers: Sequence[nn.Conv2d], activated: bool) -> nn.Sequential:
    return nn.Sequential(*(m for layer in layers for m in ((layer, nn.SiLU()) if activated else (layer,)))).eval()


def _graph(layers: Sequence[nn.Conv2d], x: Tensor, activated: bool) -> bytes:
    """A chain as ONNX."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo=False is deprecated; the new exporter is ten times slower
        network = _network(layers, activated)
        torch.onnx.export(network, (x.clone(),), buffer, dynamo=False, input_names=["x"])  # type: ignore[arg-type]
    return buffer.getvalue()


def _sides(layer: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding, rows and columns."""
    sides = (layer.kernel_size, layer.stride, layer.padding)
    return cast(tuple[tuple[int, int], tuple[int, int], tuple[int, int]], sides)


def _plain(values: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return values.detach().float().numpy()


def _bias(layer: nn.Conv2d) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.zeros(layer.out_channels, np.float32) if layer.bias is None else _plain(layer.bias)


LAYER_RUNTIMES: dict[LatencyRuntime, LayerRuntime] = {
    "onnxruntime": LayerRuntime("onnxruntime", _open_onnx),
    "pytorch": LayerRuntime("torch", _open_torch),
    "openvino": LayerRuntime("openvino", _open_openvino),
    "ncnn": LayerRuntime("ncnn", _open_ncnn),
    "litert": LayerRuntime("ai-edge-litert", _open_litert),
}
"""Every runtime of `LatencyRuntime`."""
