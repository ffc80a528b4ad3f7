"""Export a Detector to ONNX as Ascend's compiler wants it: opset 11, static shape, raw heads, stable names."""

import io
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

from yoloslim.boxes import FILL, Align
from yoloslim.deploy.graph import name_heads
from yoloslim.deploy.manifest import Head, Manifest, save_manifest
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import OnnxPredictor
from yoloslim.files import atomic_path, sha256_file
from yoloslim.models.detector import Detector, fuse
from yoloslim.models.spec import ModelSpec

logger = logging.getLogger(__name__)

INPUT_NAME = "images"
ONNX_NAME = "model.onnx"
TOLERANCE = 1e-3
"""Largest difference allowed between any logit of PyTorch and of ONNX Runtime."""


def export_onnx(model: Detector, out_dir: Path, opset: int = 11, align: Align = "center", fill: int = FILL) -> Manifest:
    """Write `model.onnx` and `manifest.json`, BatchNorm folded, and prove that the graph computes the same.

    The same model gives the same bytes. The manifest is written last: a folder without a matching one is not
    a result.

    Args:
        model: any Detector, pruned or not; it is not changed.
        out_dir: made if missing.
        opset: ONNX operator set, 11 to 18; compilers from 2021 on read 11 only.
        align: where images were placed on the canvas in training and evaluation.
        fill: grey level of the padding, 0-255.

    Raises:
        DeployError: the exporter failed, wrote another opset, the heads cannot be found, or ONNX Runtime and
            PyTorch differ by more than `TOLERANCE`.
    """
    graph = _trace(fuse(model), model.spec, opset)
    _check_opset(graph, opset)
    heads = name_heads(graph, model.spec.nc, model.spec.strides)
    _embed_metadata(graph, model.spec, align, fill)
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DeployError(f"the exported graph is not valid ONNX: {error}") from error
    with atomic_path(out_dir / ONNX_NAME) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))
        manifest = Manifest(
            sha256=sha256_file(temporary),
            model=model.spec.name,
            input_name=INPUT_NAME,
            input_shape=(1, 3, model.spec.imgsz, model.spec.imgsz),
            heads=tuple(Head(name=name, shape=shape) for name, shape in heads.items()),
            classes=model.spec.classes,
            anchors=model.spec.anchors,
            strides=model.spec.strides,
            letterbox_align=align,
            letterbox_fill=fill,
            opset=opset,
            torch_version=torch.__version__,
            max_abs_diff=0.0,
        )
        difference = compare(model, OnnxPredictor(temporary, manifest))
        if not difference <= TOLERANCE:  # also when it is NaN
            raise DeployError(
                f"ONNX Runtime and PyTorch differ by {difference:.2g} in a raw logit, more than {TOLERANCE}; "
                f"nothing was written to {out_dir}. Non-finite or huge weights are the usual cause"
            )
    manifest = manifest.model_copy(update={"max_abs_diff": difference})
    save_manifest(manifest, out_dir)
    logger.info("exported %s: opset %d, largest difference %.1e", out_dir / ONNX_NAME, opset, difference)
    return manifest


def compare(model: Detector, predictor: OnnxPredictor, images: int = 3) -> float:
    """Largest absolute difference of any logit between a model and its export, on seeded random images."""
    size = model.spec.imgsz
    pixels = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype=np.uint8)
    training = model.training
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255)
    finally:
        model.train(training)
    actual = predictor.predict(pixels)
    pairs = zip(actual, expected, strict=True)
    return max(float(np.abs(a - e.cpu().numpy()).max()) for a, e in pairs)


def _trace(model: Detector, spec: ModelSpec, opset: int) -> onnx.ModelProto:
    buffer = io.BytesIO()
    example = torch.zeros(1, 3, spec.imgsz, spec.imgsz)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo=False is deprecated, but the new exporter cannot write opset 11
        try:
            torch.onnx.export(
                model.cpu(),
                (example,),
                buffer,  # type: ignore[arg-type]  # annotated for paths, written for streams too
                dynamo=False,
                opset_version=opset,
                input_names=[INPUT_NAME],
            )
        except Exception as error:  # the exporter raises whatever its tracing meets
            raise DeployError(f"PyTorch cannot export {spec.name} at opset {opset}: {error}") from error
    return onnx.load_model_from_string(buffer.getvalue())


def _check_opset(graph: onnx.ModelProto, opset: int) -> None:
    written = {item.domain or "ai.onnx": item.version for item in graph.opset_import}
    if written != {"ai.onnx": opset}:
        raise DeployError(f"asked the exporter for opset {opset}, it wrote {written}; Ascend's ATC would refuse it")


def _embed_metadata(graph: onnx.ModelProto, spec: ModelSpec, align: Align, fill: int) -> None:
    values = {
        "anchors": spec.anchors,
        "classes": spec.classes,
        "imgsz": spec.imgsz,
        "letterbox": {"align": align, "fill": fill},
        "model": spec.name,
        "strides": spec.strides,
    }
    for key, value in values.items():
        graph.metadata_props.add(key=key, value=json.dumps(value))
