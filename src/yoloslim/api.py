"""The library's front door: what `import yoloslim` offers. Each name is a thin way to the function that stages use."""

import dataclasses
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import nn

from yoloslim.data.layouts import register_dataset
from yoloslim.deploy.export import export_model
from yoloslim.deploy.manifest import Manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.quantize import calibration_images
from yoloslim.deploy.quantize import quantize as quantize_export
from yoloslim.deploy.runtimes import open_predictor, register_runtime
from yoloslim.errors import DeployError, ModelError, PruneError
from yoloslim.evaluation.evaluate import Evaluation
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.evaluation.nms import NmsOptions, showing
from yoloslim.evaluation.predictor import Predictor
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector, build_detector, count_params
from yoloslim.models.foreign.load import read_model
from yoloslim.names import check_name
from yoloslim.prune_request import TARGETS, GroupScore, PruneRequest, Scope, Scorer, check_typed, register_importance
from yoloslim.pruning.inputs import Example, Inputs
from yoloslim.pruning.operations import BATCHNORMS, CONVOLUTIONS, TRANSPOSED, register_op
from yoloslim.pruning.prune import PruneResult
from yoloslim.pruning.prune import prune as prune_network
from yoloslim.pruning.report import shortfall
from yoloslim.tasks.detect import Detection, find_objects
from yoloslim.tasks.evaluate import evaluate_dataset
from yoloslim.tasks.train import Request as TrainRequest
from yoloslim.tasks.train import Trained, train_folder

__all__ = [
    "Detection",
    "Detector",
    "build",
    "detect",
    "evaluate",
    "export",
    "load",
    "prune",
    "quantize",
    "register_dataset",
    "register_importance",
    "register_op",
    "register_runtime",
    "train",
]

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)
Picture = str | PathLike[str] | NDArray[np.uint8]


class PruneOptions(TypedDict, total=False):
    """Fields of `PruneRequest`, which states what each means, its range and its default."""

    percent: float
    target_params_m: float
    target_gflops: float
    target_latency_ms: float
    scope: Scope
    importance: str | Scorer
    group_score: GroupScore
    min_channels: int
    layer_keep: float
    round_to: int
    cost_power: float
    residual_units: int
    fold: bool
    ignored_layers: Sequence[str]
    layer_percents: Mapping[str, float]
    imgsz: int | None
    seed: int


def load(path: str | PathLike[str]) -> Detector:
    """A stored model (.safetensors), or one of another program (.pt, .weights); nothing in the file is run.

    Raises:
        ModelError: no model file, or one that is broken.
        WeightsError: a file of another program that cannot be imported.
    """
    return read_model(Path(path))


def build(name: str, classes: Sequence[str], imgsz: int = 640) -> Detector:
    """A freshly initialised detector such as `yolov5n`; `yoloslim models` lists the names.

    Raises:
        ModelError: no such model, or classes that are no list of different names.
    """
    if isinstance(classes, str):
        raise ModelError(f"classes is the text '{classes}'; give a list: ['{classes}']")
    twice = [each for each in dict.fromkeys(classes) if list(classes).count(each) > 1]
    if twice:
        raise ModelError(f"classes names '{twice[0]}' twice")
    return build_detector(name, tuple(classes), imgsz)


def export(
    model: Detector, out: str | PathLike[str], file_format: str = "onnx", options: ExportOptions | None = None
) -> Manifest:
    """Write a detector for a runtime into a folder, compared with PyTorch, with its manifest.

    Raises:
        DeployError: no detector, or the graph cannot be written or computes something else.
    """
    if not isinstance(model, Detector):
        raise DeployError(f"model is a {type(model).__name__}; give a detector, such as yoloslim.load(file)")
    return export_model(model, Path(out), options or ExportOptions(), file_format)


def train(
    model: str | PathLike[str] | Detector,
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    epochs: int | None = None,
    imgsz: int | None = None,
    device: str = "auto",
    layout: str = "auto",
    seed: int = 0,
    **options: Any,
) -> Trained:
    """Train a detector on a folder of images and boxes; called again after an interruption, it goes on from there.

    Args:
        model: a name such as `yolov5n`, a file of weights (.safetensors, .pt, .weights ...), or a detector, which is
            left unchanged.
        data: folder, archive, data.yaml or JSON of a data set. One that names no splits is split by shares and seed.
        out: folder to write: `model.safetensors`, `metrics.json`, `epochs.csv`, `history.json`, and `data/`, the images
            in VOC layout with the splits that were used.
        epochs: passes over the training images; None takes the default of params.yaml.
        imgsz: side of the network's input, px, a multiple of 32; None keeps that of the weights, 640 for a name.
        device: auto, cpu or cuda.
        layout: of the data: auto, voc, yolo, coco, cvat, labelme.
        seed: of every random number.
        options: further keys of the sections `train`, `baseline` and `data` of params.yaml, such as `batch=16`.

    Raises:
        ConfigError: an option is unknown or out of range, or `out` holds something else or a finished training.
        DataError: the data cannot be used.
        ModelError: no such model, or weights that do not fit.
        TrainError: the loss is not finite, or there is no memory.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was written.
    """
    start = model if isinstance(model, str | Detector) else Path(model)
    return train_folder(TrainRequest(start, Path(data), layout, epochs, imgsz, device, seed, options), Path(out))


def evaluate(
    model: Detector | str | PathLike[str],
    data: str | PathLike[str],
    image_set: str = "test",
    *,
    layout: str = "auto",
    runtime: str | None = None,
    options: NmsOptions | None = None,
) -> Evaluation:
    """Measure a model on a data set; what `yoloslim eval` does.

    Args:
        model: a detector, a model file, an exported file, or the folder of an export.
        data: a data set. In VOC layout it is read as it is; of any other, train, val and test are its own splits, or
            those that `train` makes.
        image_set: name of a file in ImageSets/Main of VOC; else train, val or test.
        layout: of the data: auto, voc, yolo, coco, cvat, labelme.
        runtime: what runs a file; None takes the usual one.
        options: thresholds of suppression; None as trainers validate.

    Returns:
        `metrics` (map50, map50_95, map50_voc07, precision, recall, 0 to 1), the same by class, and the detections.

    Raises:
        DataError: the data cannot be used, or hold a class that the model does not know.
        DeployError, ModelError: the model cannot be opened.
    """
    inference = PredictorInference(_predictor(model, runtime), options or NmsOptions())
    return evaluate_dataset(inference, Path(data), image_set, None, layout)


def detect(
    model: Detector | str | PathLike[str],
    images: Picture | Sequence[Picture],
    *,
    conf: float | None = None,
    iou: float | None = None,
    runtime: str | None = None,
) -> list[list[Detection]]:
    """Find objects in images.

    Args:
        model: as in `evaluate`.
        images: one image or several: files, or arrays uint8 (H, W, 3), RGB, of any size.
        conf: lowest score, 0 to below 1; None is 0.25, or that of a graph with NMS inside, where that is higher.
        iou: overlap above which the worse box of a class goes, 0 to 1; None is 0.45, or the graph's own.
        runtime: as in `evaluate`.

    Returns:
        For every image the objects found, best first.

    Raises:
        ConfigError: a threshold is out of range, or decided inside the graph.
        DataError: an image that cannot be read, or an array that is none.
        DeployError, ModelError: the model cannot be opened.
    """
    several = [images] if isinstance(images, str | PathLike | np.ndarray) else images
    pictures = [image if isinstance(image, np.ndarray) else Path(image) for image in several]
    predictor = _predictor(model, runtime)
    return list(find_objects(PredictorInference(predictor, showing(predictor.head, conf, iou)), pictures))


def quantize(
    model: Detector | str | PathLike[str],
    images: str | PathLike[str] | NDArray[np.uint8],
    out: str | PathLike[str],
    *,
    runtime: str = "onnxruntime",
    count: int = 128,
) -> Manifest:
    """Write the int8 version of a model for a runtime into a folder, with its manifest.

    Args:
        model: a detector, or the folder of an ONNX export.
        images: what the ranges of activations are taken from: a folder of pictures like those that the model will see,
            or an array uint8 (N, S, S, 3) of them, letterboxed to the model's image size.
        out: folder to write.
        runtime: onnxruntime, openvino or ncnn.
        count: pictures of the folder to use at most, at least 1.

    Returns:
        The manifest; its `max_abs_diff` is the largest difference of a logit from fp32 on the first images.

    Raises:
        DeployError: no pictures or of the wrong size, no such runtime or its package is missing, or an export that
            cannot be quantised.
        DataError: a picture that cannot be read.
    """
    if count < 1:
        raise DeployError(f"count={count} takes no picture; give 1 or more")
    with tempfile.TemporaryDirectory(prefix="yoloslim-export-") as folder:
        source = Path(folder) if isinstance(model, Detector) else Path(model)
        if isinstance(model, Detector):
            export_model(model, source)
        array = images if isinstance(images, np.ndarray) else calibration_images(Path(images), source, count)
        return quantize_export(source, array, Path(out), runtime)


def prune(
    model: M,
    example_inputs: Example | None = None,
    *,
    measure_ms: Callable[[nn.Module], float] | None = None,
    **options: Unpack[PruneOptions],
) -> PruneResult[M]:
    """Cut channels out of a network; the input is unchanged.

    Args:
        model: a detector, or any network whose operations are known (`register_op` adds to them). It is run on the
            example to see what it does, which must not depend on the values.
        example_inputs: what its forward takes: a tensor (N, ...) of any number of axes and channels, several of them
            in a tuple, or by name in a dict. Detectors need none.
        measure_ms: milliseconds of a cut network on the target, for `target_latency_ms`.
        options: fields of `PruneRequest`. What differs from its defaults where nothing is said: scope `coupled`;
            importance `l2` for a network in which not every convolution has a BatchNorm scale to go by, or whose
            scales are all alike, as before training; `round_to` 4, 2 or 1 for a network that is too narrow for
            multiples of 8; FLOPs counted at the size of the example, or at a detector's own.

    Returns:
        `model` the new network, `certificate` (cut against masked, largest differences), `report` (plain values).

    Raises:
        TraceError: the forward depends on values, or an operation is not understood; the node is named.
        PruneError: an option is unknown or out of range, nothing can be pruned, or the certificate fails.
    """
    _check_module(model)
    for name in options:
        check_name("option of prune", name, PruneOptions.__annotations__, PruneError)
    check_typed(options)
    if measure_ms and options.get("target_latency_ms") is None:
        raise PruneError("measure_ms measures for target_latency_ms, which is not given")
    if example_inputs is None and not isinstance(model, Detector):
        raise PruneError(f"a {type(model).__name__} needs example_inputs: what its forward takes, a tensor or several")
    given = None if example_inputs is None else Inputs.of(example_inputs)
    side = model.spec.imgsz if isinstance(model, Detector) else None
    chosen: dict[str, Any] = {"importance": _importance(model), "imgsz": side, **options}
    request = PruneRequest(**chosen)
    example = (2, 3, 64, 64) if given is None else given
    result = prune_network(model, request, given, measure_ms=measure_ms, example=example)
    while _is_too_narrow(model, request, result.report) and "round_to" not in options:
        request = dataclasses.replace(request, round_to=request.round_to // 2)
        result = prune_network(model, request, given, measure_ms=measure_ms, example=example)
    result.report["round_to"] = request.round_to
    if not isinstance(model, Detector):  # folding may have given layers a bias
        parameters = count_params(result.model)
        result.report["after"] |= {"params": parameters, "params_m": parameters / 1e6}
    result.report["importance"] = getattr(request.importance, "__name__", request.importance)
    if less := shortfall(request, result.report):
        logger.warning("%.1f %% of prunable channels removed: %s", result.report["effective_percent"], less)
    return result


def _is_too_narrow(model: nn.Module, request: PruneRequest, report: dict[str, Any]) -> bool:
    """Whether rounding may be what keeps channels; the multiples of boards stay those of detectors."""
    said = request.layer_percents or any(getattr(request, name) is not None for name in TARGETS)
    less = report["effective_percent"] < request.percent - 1
    return less and not said and request.round_to > 1 and not isinstance(model, Detector)


def _check_module(model: object) -> None:
    if isinstance(model, str | PathLike):
        raise PruneError(f"model is {str(model)!r}; give a network: yoloslim.load(file) or build(name, classes)")
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise PruneError(f"model is the class {model.__name__}; give a network of it: {model.__name__}(...)")
    if not isinstance(model, nn.Module):
        raise PruneError(f"model is a {type(model).__name__}; give a torch.nn.Module")


def _predictor(model: Detector | str | PathLike[str], runtime: str | None) -> Predictor:
    if isinstance(model, Detector):
        if runtime not in (None, "pytorch"):
            raise DeployError(f"a Detector runs on pytorch; export it for {runtime}, and give the folder")
        return TorchPredictor(model)
    return open_predictor(Path(model), runtime)


def _importance(model: nn.Module) -> str:
    """`gamma` where there are as many scales as layers with prunable outputs, and training has told them apart."""
    norms = [m for m in model.modules() if isinstance(m, BATCHNORMS) and m.affine]
    layers = sum(isinstance(m, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)) for m in model.modules())
    enough = isinstance(model, Detector) or len(norms) >= max(1, layers - 1)
    told = any(bool((norm.weight != norm.weight.flatten()[0]).any()) for norm in norms)
    return "gamma" if enough and told else "l2"
