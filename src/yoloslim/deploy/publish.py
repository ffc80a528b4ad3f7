"""The last step of every export: compare with PyTorch, and only then put the files where they were asked for."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from yoloslim.deploy.manifest import Manifest, save_manifest
from yoloslim.deploy.names import BOXES_AND_SCORES, DETECTIONS, NMS_IOU, NMS_LIMIT, NMS_SCORE
from yoloslim.deploy.runtimes import open_graph
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats, NmsOptions, decode, nms
from yoloslim.evaluation.predictor import Images, divide_by_255
from yoloslim.files import atomic_path
from yoloslim.models.detector import Detector
from yoloslim.runner.cells import Cells
from yoloslim.runner.suppression import suppress

logger = logging.getLogger(__name__)

TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2}
"""Largest difference allowed between an output of PyTorch and of an export, as a share of the largest output of that
level, or of 1 where all are smaller: float32 holds seven digits, however large the numbers are, float16 three."""

CHOICES = 1000
"""Candidates that NMS inside a graph is tried on."""
MARGINAL = 0.01
"""Share of boxes that may differ, whose overlap is the threshold to the last bit, or whose scores are equal."""


def publish(model: Detector, folder: Path, manifest: Manifest, out_dir: Path) -> Manifest:
    """Compare a graph with the model it was made from, then move its files to `out_dir`, the manifest last.

    Args:
        model: the truth.
        folder: holds the files that the manifest names.
        manifest: what they are.
        out_dir: made if missing; nothing is written there unless the graph holds up.

    Returns:
        The manifest with `max_abs_diff` filled in.

    Raises:
        DeployError: the two differ by more than `TOLERANCES` allow, or one of them is not finite; or NMS inside the
            graph keeps other boxes than `nms`, or a graph that needs none others than the best.
    """
    difference, share = differences(model, folder, manifest)
    tolerance = TOLERANCES[manifest.precision]
    if not share <= tolerance:  # also when it is NaN
        raise DeployError(
            f"{manifest.format} and PyTorch differ by {difference:.2g}, which is {share:.2g} of the largest output and "
            f"more than {tolerance}; nothing was written to {out_dir}. Non-finite or huge weights are the usual cause"
        )
    if manifest.outputs == "nms":
        _check_suppression(folder / manifest.file, manifest)
    if manifest.outputs == "end2end":
        _check_best(folder / manifest.file, manifest)
    said = "%s: largest difference from PyTorch %.1e, %.1e of the largest output"
    logger.info(said, out_dir / manifest.file, difference, share)
    return keep(folder, manifest.model_copy(update={"max_abs_diff": difference}), out_dir)


def keep(folder: Path, manifest: Manifest, out_dir: Path) -> Manifest:
    """Copy the files that a manifest names from `folder` to `out_dir`, and write it there, last."""
    for name in manifest.files:
        with atomic_path(out_dir / name) as temporary:
            shutil.copyfile(folder / name, temporary)
    save_manifest(manifest, out_dir)
    return manifest


def differences(model: Detector, folder: Path, manifest: Manifest) -> tuple[float, float]:
    """Largest difference of any output between a model and its export: absolute, and as a share of the outputs.

    Measured on seeded random images. Boxes count in image sides. Of a graph with NMS these are the boxes and scores
    that it chooses from; what it chooses is compared on their very bits, since one bit may keep or drop a box.
    """
    size, pixels = model.spec.imgsz, _noise(manifest)
    expected = _reference(model, pixels)
    if manifest.outputs == "raw":
        actual: Sequence[Floats] = open_graph(folder / manifest.file, manifest).predict(pixels)
    else:
        corners, scores = decode(expected, manifest.head)
        expected = [corners / np.float32(size), scores]
        actual = _decoded(folder / manifest.file, pixels, manifest)
    pairs = [(float(np.abs(a - e).max()), float(np.abs(e).max())) for a, e in zip(actual, expected, strict=True)]
    # not max(): it would pass over NaN
    return float(np.max([d for d, _ in pairs])), float(np.max([d / max(1.0, scale) for d, scale in pairs]))


def _reference(model: Detector, pixels: Images) -> list[Floats]:
    training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        with torch.inference_mode():
            outputs = model(torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255)
            heads = model.spec.head.answering(outputs)
    finally:
        model.train(training)
    return [head.cpu().numpy() for head in heads]


def _noise(manifest: Manifest) -> Images:
    batch, size = manifest.input_shape[0], manifest.imgsz
    count = batch if batch > 0 and manifest.outputs != "raw" else 3
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _decoded(path: Path, pixels: Images, manifest: Manifest) -> list[Floats]:
    """Boxes and scores, which a graph with NMS computes inside under the same names."""
    boxes, scores = _run(onnx.load(path), BOXES_AND_SCORES, pixels, manifest)
    return [boxes / np.float32(manifest.imgsz), scores]


def _run(graph: onnx.ModelProto, names: list[str], pixels: Images, manifest: Manifest) -> list[Floats]:
    """Values of a graph by name, its outputs or not."""
    there = {output.name for output in graph.graph.output}
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in there)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Floats] = session.run(names, {manifest.input_name: divide_by_255(pixels)})
    return found


def _check_suppression(path: Path, manifest: Manifest) -> None:
    """Let a graph choose among the `CHOICES` best candidates of noise, and `nms` among the same."""
    graph, pixels = onnx.load(path), _noise(manifest)
    constants = {constant.name: constant for constant in graph.graph.initializer}
    limit, iou = (onnx.numpy_helper.to_array(constants[name])[0] for name in (NMS_LIMIT, NMS_IOU))
    scores = _run(graph, ["scores"], pixels, manifest)[0].ravel()
    least = np.partition(scores, -CHOICES)[-CHOICES] if len(scores) > CHOICES else np.float32(0)
    constants[NMS_SCORE].CopyFrom(onnx.numpy_helper.from_array(np.array([least], np.float32), NMS_SCORE))
    boxes, scores, detections = _run(graph, [*BOXES_AND_SCORES, DETECTIONS], pixels, manifest)
    options = NmsOptions(float(least), float(iou), max_det=None)
    expected = {
        (image, *map(float, row))
        for image, found in enumerate(nms(boxes, scores, options))
        for label in np.unique(found[:, 5])
        for row in found[found[:, 5] == label][:limit]
    }
    actual = {(int(row[0]), *map(float, row[1:])) for row in detections}
    if len(expected ^ actual) > MARGINAL * len(expected):
        raise DeployError(
            f"NMS inside the graph keeps {len(actual)} boxes of {CHOICES} candidates, and they are not the "
            f"{len(expected)} to be kept; nothing was written. Try another onnxruntime than {onnxruntime.__version__}"
        )


def _check_best(path: Path, manifest: Manifest) -> None:
    """Let a graph choose its best detections of noise, and `suppress` among the same boxes and scores."""
    boxes, scores, detections = _run(onnx.load(path), [*BOXES_AND_SCORES, DETECTIONS], _noise(manifest), manifest)
    options = asdict(NmsOptions(0, max_det=detections.shape[1])) | {"conf_thres": -1}
    for mine, corners, of_classes in zip(detections, boxes, scores, strict=True):
        expected = suppress(Cells(of_classes, corners.__getitem__, False), options)
        same = set(map(tuple, mine.tolist())) & set(map(tuple, expected.tolist()))
        if not np.array_equal(mine[:, 4], expected[:, 4]) or len(same) < (1 - MARGINAL) * len(mine):
            raise DeployError(
                f"the graph's {len(mine)} detections are not the best of its own scores; nothing was written. Try "
                f"another onnxruntime than {onnxruntime.__version__}"
            )
