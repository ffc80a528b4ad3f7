"""The registry of runtimes: from a file, or an export's folder, to the predictor that runs it."""

from pathlib import Path
from typing import Any, Literal, get_args

from yoloslim.deploy.ascend.atc import load_result
from yoloslim.deploy.ascend.bundle import BUNDLE, COMPILED
from yoloslim.deploy.ascend.predictors import AclPredictor, AisBenchPredictor, OmPredictor
from yoloslim.deploy.manifest import MANIFEST_NAME, Manifest, load_manifest
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import (
    GraphDescription,
    GraphPredictor,
    NcnnPredictor,
    OnnxPredictor,
    OpenVinoPredictor,
    Precision,
    Predictor,
)
from yoloslim.files import read_json

Runtime = Literal["pytorch", "onnxruntime", "openvino", "ncnn", "acl", "ais_bench"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)

READERS: dict[str, tuple[Runtime, ...]] = {
    ".safetensors": ("pytorch",),
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".param": ("ncnn",),
    ".om": ("acl", "ais_bench"),
}
"""File type -> runtimes that read it, the usual one first."""

_GRAPHS: dict[Runtime, type[GraphPredictor]] = {
    "onnxruntime": OnnxPredictor,
    "openvino": OpenVinoPredictor,
    "ncnn": NcnnPredictor,
}
_DEVICES: dict[Runtime, type[OmPredictor]] = {"acl": AclPredictor, "ais_bench": AisBenchPredictor}


def open_predictor(
    path: Path, runtime: Runtime | None = None, threads: int | None = None, precision: Precision = "fp32"
) -> Predictor:
    """Open a model file, an exported file, or the folder of an export.

    Args:
        path: `.safetensors`, `.onnx`, `.xml` (OpenVINO), `.param` (ncnn), `.om` (in the folder that the atc stage
            wrote), or a folder with `manifest.json`.
        runtime: what runs it; None takes the usual one for the file. Of a folder that holds a compiled model beside
            its graph, `acl` and `ais_bench` take the former.
        threads: CPU threads; None leaves the runtime's choice.
        precision: `bf16` is for PyTorch and OpenVINO.

    Raises:
        DeployError: the file is missing, no runtime reads it, nothing describes it, or it does not match its
            description.
        ModelError: a model file that cannot be read.
    """
    if not path.exists():
        raise DeployError(f"model {path} is missing; check the name, or export it again (`yoloslim export`)")
    manifest = _manifest_of(path)
    file = path
    if path.is_dir() and manifest:
        file = path / (COMPILED if runtime in _DEVICES and (path / COMPILED).is_file() else manifest.file)
    chosen = _choose(file, runtime)
    if precision != "fp32" and chosen not in ("pytorch", "openvino"):
        raise DeployError(f"{chosen} computes in the precision of the file; {precision} is for pytorch and openvino")
    if chosen == "pytorch":
        return _open_torch(file, threads, precision)
    if chosen in _DEVICES:
        source, gears = load_result(file.parent).aipp_input, tuple(read_json(file.parent / BUNDLE)["gears"])
        return _DEVICES[chosen](file, load_manifest(file.parent), source, gears)
    return open_graph(file, manifest or _describe(file), chosen, threads, precision)


def open_graph(
    file: Path,
    description: GraphDescription,
    runtime: Runtime | None = None,
    threads: int | None = None,
    precision: Precision = "fp32",
) -> GraphPredictor:
    """Open an exported file whose description is known already; see `open_predictor`."""
    if not description.head_names:
        raise DeployError(
            f"{file} gives boxes, not raw heads: it is for users of plain ONNX Runtime; "
            "export the model with raw outputs to evaluate or compile it"
        )
    chosen = _choose(file, runtime)
    extra: dict[str, Any] = {"precision": precision} if chosen == "openvino" else {}
    return _GRAPHS[chosen](file, description, threads, **extra)


def _open_torch(file: Path, threads: int | None, precision: Precision) -> Predictor:
    from yoloslim.evaluation.predictor.pytorch import TorchPredictor  # PyTorch takes two seconds to import
    from yoloslim.models.store import load_model

    predictor = TorchPredictor(load_model(file), precision=precision)
    if threads:
        predictor.set_threads(threads)
    return predictor


def _describe(file: Path) -> GraphDescription:
    from yoloslim.deploy.describe import describe_onnx  # only files that lost their manifest need `onnx`

    return describe_onnx(file)


def _choose(file: Path, runtime: Runtime | None) -> Runtime:
    readers = READERS.get(file.suffix, ())
    if not readers:
        weights = "`yoloslim import` turns it into one; or " if file.suffix in (".pt", ".pth", ".weights") else ""
        raise DeployError(
            f"{file} is no model that yoloslim runs; {weights}give a file that ends in {', '.join(READERS)}, or the "
            "folder of an export"
        )
    if runtime in _DEVICES and runtime not in readers:
        raise DeployError(
            f"{runtime} runs compiled models (.om), not {file.name}; compile it first (stage atc, or `bash atc.sh` "
            "in its folder)"
        )
    if runtime is not None and runtime not in readers:
        raise DeployError(f"{runtime} does not read {file.name}, {' and '.join(readers)} do; export the model for it")
    return runtime or readers[0]


def _manifest_of(path: Path) -> Manifest | None:
    """The manifest that describes a file or folder, None where there is none."""
    if path.is_dir():
        return load_manifest(path)
    beside = path.parent / MANIFEST_NAME
    if path.suffix in (".safetensors", ".om") or not beside.is_file():
        return None
    return load_manifest(path.parent) if path.name in read_json(beside).get("files", {}) else None
