"""The runtimes, each in a file of its own, and the way from a file, or an export's folder, to its predictor.

A new one is registered here; see `runtimes.base.Runtime`.
"""

from os import PathLike
from pathlib import Path

from yoloslim.choices import Precision
from yoloslim.deploy.manifest import MANIFEST_NAME, Manifest, load_manifest
from yoloslim.deploy.runtimes.ascend import ACL, AIS_BENCH
from yoloslim.deploy.runtimes.base import (
    RUNTIMES,
    Runtime,
    int8_runtimes,
    register_runtime,
    runtime_for_int8,
    runtime_for_mixed,
    runtime_named,
    runtime_of_format,
)
from yoloslim.deploy.runtimes.litert import LITERT
from yoloslim.deploy.runtimes.ncnn import NCNN
from yoloslim.deploy.runtimes.onnxruntime import ONNXRUNTIME
from yoloslim.deploy.runtimes.openvino import OPENVINO
from yoloslim.deploy.runtimes.pytorch import PYTORCH, SUFFIXES
from yoloslim.deploy.runtimes.rockchip import RKNN, RKNNLITE
from yoloslim.deploy.runtimes.tensorrt import TENSORRT
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import GraphDescription, Predictor
from yoloslim.files import read_json
from yoloslim.models.zoo import way_to

__all__ = [
    "RUNTIMES",
    "Runtime",
    "int8_runtimes",
    "open_graph",
    "open_predictor",
    "register_runtime",
    "runtime_for_int8",
    "runtime_for_mixed",
    "runtime_named",
    "runtime_of_format",
]

register_runtime(PYTORCH)
register_runtime(ONNXRUNTIME)
register_runtime(OPENVINO)
register_runtime(NCNN)
register_runtime(LITERT)
register_runtime(TENSORRT)
register_runtime(ACL)
register_runtime(AIS_BENCH)
register_runtime(RKNN)
register_runtime(RKNNLITE)


def open_predictor(
    path: str | PathLike[str], runtime: str | None = None, threads: int | None = None, precision: Precision = "fp32"
) -> Predictor:
    """Open a model file, an exported file, or the folder of an export.

    Args:
        path: `.safetensors`, `.pt` and `.weights` of other programs, `.onnx`, `.xml` (OpenVINO), `.param` (ncnn),
            `.tflite` (LiteRT), `.engine` (TensorRT), `.om` and `.rknn` (in the folder that `yoloslim compile` wrote),
            or a folder with `manifest.json`.
        runtime: what runs it; None takes the usual one for the file. Of a folder that holds a compiled model beside
            its graph, `acl`, `ais_bench`, `rknn` and `rknnlite` take the former.
        threads: CPU threads; None leaves the runtime's choice.
        precision: `bf16` is for PyTorch and OpenVINO.

    Raises:
        DeployError: the file is missing, no runtime reads it, nothing describes it, or it does not match its
            description.
        ModelError: a model file that cannot be read.
    """
    path = Path(path)
    if not path.exists():
        way = way_to(path, "check the name, or export it again (`yoloslim export`)")
        raise DeployError(f"model {path} is missing; {way}")
    manifest, file = _manifest_of(path), path
    if manifest:
        runtime_of_format(manifest.format)  # a format that nothing writes is not what the manifest claims to be
    if path.is_dir() and manifest:
        beside = path / (runtime_named(runtime).beside if runtime else "")
        file = beside if beside.is_file() else path / manifest.file
    chosen = _choose(file, runtime)
    if precision not in chosen.precisions:
        able = " and ".join(name for name, each in RUNTIMES.items() if precision in each.precisions)
        raise DeployError(f"{chosen.name} computes in the precision of the file; {precision} is for {able}")
    return chosen.open(file, lambda: _runnable(file, manifest or _describe(file)), threads, precision)


def open_graph(
    file: Path,
    description: GraphDescription,
    runtime: str | None = None,
    threads: int | None = None,
    precision: Precision = "fp32",
) -> Predictor:
    """Open an exported file whose description is known already; see `open_predictor`."""
    return _choose(file, runtime).open(file, lambda: _runnable(file, description), threads, precision)


def _runnable(file: Path, description: GraphDescription) -> GraphDescription:
    """A description with heads; of a graph that decodes inside they are what it gives."""
    if description.head_names:
        return description
    from yoloslim.deploy.inside import describe_inside  # needs `onnx`

    return describe_inside(file, description, getattr(description, "outputs", "raw"))


def _describe(file: Path) -> GraphDescription:
    # only files that lost their manifest, and those of other programs, need `onnx`
    from yoloslim.deploy.describe import describe_onnx, is_ours, read_onnx
    from yoloslim.deploy.theirs import describe_theirs

    if file.suffix != ".onnx":
        return describe_onnx(file)
    graph = read_onnx(file)
    return describe_onnx(file) if is_ours(graph) else describe_theirs(file, graph)


def _choose(file: Path, name: str | None) -> Runtime:
    asked = runtime_named(name) if name else None
    readers = [runtime for runtime in RUNTIMES.values() if file.suffix in runtime.suffixes]
    if not readers:
        suffixes = dict.fromkeys(suffix for runtime in RUNTIMES.values() for suffix in runtime.suffixes)
        raise DeployError(
            f"{file} is no model that yoloslim runs; give a file that ends in {', '.join(suffixes)}, or the "
            "folder of an export"
        )
    if asked and asked.beside and asked not in readers:
        raise DeployError(
            f"{asked.name} runs compiled models ({', '.join(asked.suffixes)}), not {file.name}; compile it first "
            "(`yoloslim compile`, stages atc and rknn)"
        )
    if asked and asked not in readers:
        able = " and ".join(runtime.name for runtime in readers)
        raise DeployError(f"{asked.name} does not read {file.name}, {able} do; export the model for it")
    return asked or readers[0]


def _manifest_of(path: Path) -> Manifest | None:
    """The manifest that describes a file or folder, None where there is none."""
    if path.is_dir():
        return load_manifest(path)
    beside = path.parent / MANIFEST_NAME
    if path.suffix in (*SUFFIXES, ".om", ".rknn") or not beside.is_file():
        return None
    return load_manifest(path.parent) if path.name in read_json(beside).get("files", {}) else None
