"""Export a model for a runtime: ONNX, OpenVINO IR, ncnn or LiteRT, each compared with PyTorch before it is kept."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch

from yoloslim.choices import Weights
from yoloslim.deploy.manifest import Manifest, Output
from yoloslim.deploy.onnx import ExportOptions, onnx_graph
from yoloslim.deploy.publish import publish
from yoloslim.deploy.runtimes import RUNTIMES, runtime_of_format
from yoloslim.errors import DeployError
from yoloslim.files import sha256_file
from yoloslim.models.detector import Detector
from yoloslim.ranges import ConvRange


def export_model(
    model: Detector,
    out_dir: Path,
    options: ExportOptions | None = None,
    file_format: str = "onnx",
    weights: Weights = "fp32",
    ranges: Mapping[str, ConvRange] | None = None,
) -> Manifest:
    """Write the files of a format and `manifest.json`, BatchNorm folded, and prove that they compute the same.

    The manifest is written last: a folder without a matching one is not a result.

    Args:
        model: any Detector, pruned or not; it is not changed.
        out_dir: made if missing.
        options: what kind of graph.
        file_format: what will read it.
        weights: what they are stored in.
        ranges: of activations, by convolution, where the model was trained with them quantised; goes into the manifest,
            for `int8.quantize`.

    Raises:
        DeployError: the exporter failed, its package is not installed, the format has no such outputs, batch or
            weights, or the result differs from PyTorch by more than `publish.TOLERANCES` allow.
    """
    options = options or ExportOptions()
    runtime = runtime_of_format(file_format)
    if runtime.one_image and options.batch != 1:
        raise DeployError(
            f"{file_format} takes one image a call, so batch {options.batch} cannot be exported; use batch 1"
        )
    if file_format != "onnx" and options.outputs != "raw":
        raise DeployError(f"outputs {options.outputs!r} exist for onnx only; export {file_format} with raw outputs")
    write = runtime.write_fp16 if weights == "fp16" else runtime.write
    if write is None:
        able = ", ".join(each.format for each in RUNTIMES.values() if each.write_fp16)
        raise DeployError(f"{file_format} is not written with weights in {weights}; {able} can")
    graph = onnx_graph(model, options)
    with tempfile.TemporaryDirectory() as temporary:
        names = write(graph, Path(temporary))
        files = {name: sha256_file(Path(temporary) / name) for name in names}
        manifest = manifest_of(model, graph, options, file_format, files)
        manifest = manifest.model_copy(update={"precision": weights, "ranges": dict(ranges or {})})
        return publish(model, Path(temporary), manifest, out_dir)


def manifest_of(
    model: Detector, graph: onnx.ModelProto, options: ExportOptions, file_format: str, files: dict[str, str]
) -> Manifest:
    """The description of a graph, not yet compared with anything."""
    spec, batch = model.spec, options.batch or -1
    shapes = {o.name: tuple(side.dim_value for side in o.type.tensor_type.shape.dim) for o in graph.graph.output}
    raw = options.outputs == "raw"
    heads = [Output(name=name, shape=(batch, *shape[1:])) for name, shape in shapes.items()] if raw else []
    return Manifest(
        format=file_format,
        files=files,
        model=spec.name,
        input_name=graph.graph.input[0].name,
        input_shape=(batch, 3, spec.imgsz, spec.imgsz),
        outputs=options.outputs,
        heads=tuple(heads),
        classes=spec.classes,
        head=spec.head,
        letterbox_align=options.align,
        letterbox_fill=options.fill,
        opset=options.opset,
        torch_version=torch.__version__,
    )
