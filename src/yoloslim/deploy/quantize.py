"""Post-training quantisation to int8: activations are calibrated on training images, weights by channel.

The head's convolutions stay fp32: their outputs are logits of very different range, and they cost next to nothing.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from onnx import version_converter

from yoloslim.boxes import letterbox
from yoloslim.config.deploy import Int8Runtime
from yoloslim.data.images import read_image
from yoloslim.deploy.graph import fix_batch, head_nodes, opset_of
from yoloslim.deploy.manifest import PLAIN, Manifest, load_manifest
from yoloslim.deploy.ncnn import write_ncnn
from yoloslim.deploy.ncnn_int8 import quantize_ncnn
from yoloslim.deploy.openvino import save_ir, to_ir
from yoloslim.deploy.publish import keep
from yoloslim.deploy.runtimes import open_graph
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor import Images, divide_by_255
from yoloslim.files import sha256_file
from yoloslim.quiet import quiet
from yoloslim.runner.pictures import SUFFIXES

INT8_RUNTIMES: tuple[Int8Runtime, ...] = get_args(Int8Runtime)
logger = logging.getLogger(__name__)

_OPSET = 13
"""The first whose QuantizeLinear knows a scale for each channel; later ones stay, onnx cannot convert them back."""


def quantize(export_dir: Path, images: Images, out_dir: Path, runtime: Int8Runtime) -> Manifest:
    """Write the int8 version of an export, for one runtime.

    Args:
        export_dir: what `export_model` wrote as ONNX with raw heads, for one image a call or any number.
        images: calibration images, uint8 (N, S, S, 3), letterboxed as in evaluation; a hundred or more of the
            training set.
        out_dir: made if missing.
        runtime: what will run it; each has its own way to write quantised graphs.

    Returns:
        The manifest, for one image a call; its `max_abs_diff` is the largest difference of any logit from the fp32
        graph on the first calibration images.

    Raises:
        DeployError: no calibration images or of the wrong size, the export is of another kind, or the runtime's
            tools are missing.
    """
    manifest = load_manifest(export_dir)
    batch = manifest.input_shape[0]
    if manifest.kind != PLAIN or batch > 1:
        raise DeployError(
            f"{export_dir} holds {', '.join(manifest.kind)}, batch {batch}; quantisation starts from an fp32 ONNX "
            "export with raw heads and batch 1 or 0 (open)"
        )
    if not len(images):
        raise DeployError(
            "there are no calibration images, so the range of no activation is known; give images like those that the "
            "model will see, best a hundred or more of the training set"
        )
    graph = onnx.load(export_dir / manifest.file)
    graph.metadata_props.add(key="precision", value='"int8"')
    fix_batch(graph)
    fp32 = open_graph(export_dir / manifest.file, manifest)
    before = fp32.predict(images[:4])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = _WRITERS[runtime](graph, images, folder)
        files = {name: sha256_file(folder / name) for name in names}
        update = {
            "format": _FORMATS[runtime],
            "precision": "int8",
            "files": files,
            "input_shape": (1, *manifest.input_shape[1:]),
            "opset": opset_of(onnx.load(folder / names[0])) if runtime == "onnxruntime" else manifest.opset,
        }
        quantized = manifest.model_copy(update=update)
        after = open_graph(folder / quantized.file, quantized, runtime).predict(images[:4])
        difference = max(float(np.abs(a - b).max()) for a, b in zip(after, before, strict=True))
        logger.info("%s: largest difference of a logit from fp32 %.2g", out_dir / quantized.file, difference)
        return keep(folder, quantized.model_copy(update={"max_abs_diff": difference}), out_dir)


def calibration_images(folder: Path, export_dir: Path, count: int) -> Images:
    """Up to `count` pictures of a folder, letterboxed as an export's manifest says, uint8 (n, S, S, 3).

    Raises:
        DeployError: the folder holds no pictures.
        DataError: one of them cannot be decoded.
    """
    manifest = load_manifest(export_dir)
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DeployError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}) to calibrate with")
    chosen = paths[:: max(1, len(paths) // count)][:count]
    place = (manifest.imgsz, manifest.letterbox_align, manifest.letterbox_fill)
    return np.stack([letterbox(read_image(path), *place)[0] for path in chosen])


def _write_onnx(graph: onnx.ModelProto, images: Images, folder: Path) -> list[str]:
    """QuantizeLinear and DequantizeLinear around everything, which ONNX Runtime fuses into integer kernels."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = _feeds(graph, images)

        def get_next(self) -> dict[str, Floats] | None:
            return next(self._batches, None)

    source = folder / "fp32.onnx"
    if opset_of(graph) < _OPSET:
        graph = version_converter.convert_version(graph, _OPSET)
    onnx.save(graph, source)
    with quiet():  # it advises shape inference, which the exporter has done
        quantize_static(
            str(source),
            str(folder / "model.onnx"),
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,  # with int8 weights: what x86 multiplies in one instruction
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=[node.name for node in head_nodes(graph)],
        )
    source.unlink()
    return ["model.onnx"]


def _write_openvino(graph: onnx.ModelProto, images: Images, folder: Path) -> list[str]:
    try:
        import nncf
    except ImportError as error:
        raise DeployError(f"NNCF is not installed ({error}); pip install 'yoloslim[runtimes]'") from error
    nncf.set_log_level(logging.ERROR)  # it tells of every node that it leaves alone
    quantized = nncf.quantize(
        to_ir(graph),
        nncf.Dataset(list(_feeds(graph, images))),
        preset=nncf.QuantizationPreset.MIXED,  # asymmetric activations, as SiLU's are
        subset_size=len(images),
        # SiLU in fp32 is fused into the convolution before it; quantised by itself it is a pass over memory
        ignored_scope=nncf.IgnoredScope(
            names=[node.name for node in head_nodes(graph)], types=["Sigmoid", "Multiply"], validate=False
        ),
    )
    return save_ir(quantized, folder)


def _write_ncnn(graph: onnx.ModelProto, images: Images, folder: Path) -> list[str]:
    with tempfile.TemporaryDirectory() as source:
        write_ncnn(graph, Path(source))
        feeds = (next(iter(feed.values())) for feed in _feeds(graph, images))
        return quantize_ncnn(
            Path(source), folder, feeds, keep_fp32=sum(node.op_type == "Conv" for node in head_nodes(graph))
        )


def _feeds(graph: onnx.ModelProto, images: Images) -> Iterator[dict[str, Floats]]:
    name = graph.graph.input[0].name
    for image in images:
        yield {name: divide_by_255(image[None])}


_WRITERS: dict[Int8Runtime, Callable[[onnx.ModelProto, Images, Path], list[str]]] = {
    "onnxruntime": _write_onnx,
    "openvino": _write_openvino,
    "ncnn": _write_ncnn,
}
_FORMATS = {"onnxruntime": "onnx", "openvino": "openvino", "ncnn": "ncnn"}
