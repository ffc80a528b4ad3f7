"""Quantisation to int8: weights by channel, activations as training has set them or calibrated on training images.

The head's convolutions stay fp32: their outputs are logits of very different range, and they cost next to nothing.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from yoloslim.boxes import letterbox
from yoloslim.data.folders import is_side_file
from yoloslim.data.images import read_image
from yoloslim.deploy.graph import fix_batch, head_nodes, opset_of
from yoloslim.deploy.manifest import PLAIN, Manifest, load_manifest
from yoloslim.deploy.names import unit_of
from yoloslim.deploy.publish import keep
from yoloslim.deploy.runtimes import open_graph, runtime_for_int8, runtime_for_mixed
from yoloslim.deploy.sensitivity import losses, most_sensitive, nodes_of
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import Images
from yoloslim.evaluation.predictor.base import check_images
from yoloslim.files import sha256_file
from yoloslim.ranges import ConvRange, few_images
from yoloslim.runner import damage
from yoloslim.runner.pictures import SUFFIXES

logger = logging.getLogger(__name__)


def quantize(export_dir: Path, images: Images, out_dir: Path, runtime: str, fp32_share: float = 0.0) -> Manifest:
    """Write the int8 version of an export, for one runtime.

    Args:
        export_dir: what `export_model` wrote as ONNX with raw heads, for one image a call or any number.
        images: calibration images, uint8 (N, S, S, 3), letterboxed as in evaluation; a hundred or more of the
            training set.
        out_dir: made if missing.
        runtime: name of what will run it; each has its own way to write quantised graphs.
        fp32_share: share of the layers, below 1, that stay fp32, those that lose most by themselves; 0 for none.

    Returns:
        The manifest, for one image a call, or where the runtime's int8 takes any number, for as many as the export; its
        `max_abs_diff` is the largest difference of any logit from the fp32 graph on the first calibration images.

    Raises:
        DeployError: no calibration images or of the wrong size, the export is of another kind, the runtime's tools are
            missing, or it cannot leave layers of one's choice in fp32.
    """
    kind = runtime_for_mixed(runtime) if fp32_share else runtime_for_int8(runtime)
    write = kind.write_int8
    assert write is not None
    manifest = load_manifest(export_dir)
    batch = manifest.input_shape[0]
    if manifest.kind != PLAIN or batch > 1:
        raise DeployError(
            f"{export_dir} holds {', '.join(manifest.kind)}, batch {batch}; quantisation starts from an fp32 ONNX "
            "export with raw heads and batch 1 or 0 (open)"
        )
    if out_dir.resolve() == export_dir.resolve():
        raise DeployError(f"{out_dir} is the export itself, which its int8 version would replace; name another folder")
    count = check_calibration(images, manifest.imgsz, f"{runtime}-int8")
    if manifest.ranges and not kind.write_chosen_int8:
        logger.warning("%s takes no ranges from training: activations are calibrated on the images", runtime)
    graph = onnx.load(export_dir / manifest.file)
    graph.metadata_props.add(key="precision", value='"int8"')
    if not kind.open_int8:
        fix_batch(graph)
    fp32 = open_graph(export_dir / manifest.file, manifest)
    before = fp32.predict(images[:4])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lost: dict[str, float] = {}
        worst: tuple[str, ...] = ()
        if kind.write_chosen_int8 and (manifest.ranges or fp32_share):
            trained = tensor_ranges(graph, manifest.ranges) if manifest.ranges else {}
            if fp32_share:
                lost = losses(graph, images, trained)
                worst = most_sensitive(lost, fp32_share)
            names = kind.write_chosen_int8(graph, images, trained, nodes_of(graph, worst), folder)
        else:
            names = write(graph, images, folder)
        files = {name: sha256_file(folder / name) for name in names}
        update = {
            "format": kind.format,
            "ranges": manifest.ranges if kind.write_chosen_int8 else {},
            "calibration_images": count,
            "losses": {unit_of(tensor): loss for tensor, loss in lost.items()},
            "fp32_layers": tuple(unit_of(tensor) for tensor in worst),
            "precision": "int8",
            "files": files,
            "input_shape": manifest.input_shape if kind.open_int8 else (1, *manifest.input_shape[1:]),
            "opset": opset_of(onnx.load(folder / names[0])) if kind.format == "onnx" else manifest.opset,
        }
        quantized = manifest.model_copy(update=update)
        after = open_graph(folder / quantized.file, quantized, runtime).predict(images[:4])
        difference = max(float(np.abs(a - b).max()) for a, b in zip(after, before, strict=True))
        largest = max(float(np.abs(b).max()) for b in before)
        said = "%s: largest difference of a logit from fp32 %.2g, where the largest logit is %.3g"
        logger.info(said, out_dir / quantized.file, difference, largest)
        return keep(folder, quantized.model_copy(update={"max_abs_diff": difference}), out_dir)


def check_calibration(images: Images | None, imgsz: int, version: str) -> int:
    """How many images the ranges of activations will be taken from; few are said.

    Args:
        images: uint8 (N, imgsz, imgsz, 3).
        imgsz: side of the model's input, px.
        version: of the model, such as `openvino-int8`, for the messages.

    Raises:
        DeployError: none, or of another size.
    """
    if images is None or not len(images):
        raise DeployError(
            f"{version} needs calibration images, and there are none, so the range of no activation is known; give "
            "images like those that the model will see, best a hundred or more of the training set"
        )
    check_images(images, imgsz, version)
    if said := few_images(len(images)):
        logger.warning("%s is %s", version, said)
    return len(images)


def tensor_ranges(graph: onnx.ModelProto, ranges: Mapping[str, ConvRange]) -> dict[str, tuple[float, float]]:
    """The ranges of the tensors that convolutions of an exported graph read and give.

    Args:
        graph: with weights named as in the model, `<path>.weight`.
        ranges: by path of the convolution.

    Raises:
        DeployError: the graph has other convolutions than the model that was trained.
    """
    convs = {node.input[1].removesuffix(".weight"): node for node in graph.graph.node if node.op_type == "Conv"}
    heads = {node.input[1].removesuffix(".weight") for node in head_nodes(graph) if node.op_type == "Conv"}
    if odd := ranges.keys() ^ (convs.keys() - heads):
        raise DeployError(
            f"the ranges from training and the graph's convolutions do not fit: {', '.join(sorted(odd)[:3])}; run "
            "stages finetune and export again"
        )
    found = {}
    for path, (read_low, read_high, low, high) in ranges.items():
        found[convs[path].input[0]] = (read_low, read_high)
        found[convs[path].output[0]] = (low, high)
    return found


def calibration_images(folder: Path, export_dir: Path, count: int) -> Images:
    """Up to `count` pictures of a folder, letterboxed as an export's manifest says, uint8 (n, S, S, 3).

    Raises:
        DeployError: there is no such folder, or it holds no pictures.
        DataError: one of them cannot be decoded.
    """
    manifest = load_manifest(export_dir)
    if not folder.is_dir():
        raise DeployError(f"{folder} is missing or no folder; name one with pictures to calibrate with")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not is_side_file(path.name))
    paths = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not paths:
        deeper = next((each for each in sorted(folder.glob("*/**/*")) if each.suffix.lower() in SUFFIXES), None)
        hint = f"; {deeper.parent} does" if deeper else ""
        raise DeployError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}) to calibrate with{hint}")
    if others := [each.name for each in files if each not in paths]:
        logger.warning("%s: %d file(s) left out, no pictures that are read: %s", folder, len(others), others[0])
    chosen = paths[:: max(1, len(paths) // count)][:count]
    place = (manifest.imgsz, manifest.letterbox_align, manifest.letterbox_fill)
    with damage.told(logger.warning):
        return np.stack([letterbox(read_image(path), *place)[0] for path in chosen])
