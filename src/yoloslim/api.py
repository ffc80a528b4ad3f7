"""The library's front door: what `import yoloslim` offers. Each name is a thin way to the function that stages use."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.layouts import register_dataset
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import calibration_images
from yoloslim.deploy.int8 import quantize as quantize_export
from yoloslim.deploy.manifest import Manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import open_predictor, register_runtime, runtime_named
from yoloslim.errors import ConfigError, DeployError, ModelError
from yoloslim.evaluation.evaluate import Evaluation
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.evaluation.nms import NmsOptions, showing
from yoloslim.evaluation.predictor import Predictor
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector, build_detector
from yoloslim.models.foreign.load import read_model
from yoloslim.prune_request import register_importance
from yoloslim.pruning.any_network import prune
from yoloslim.pruning.operations import register_op
from yoloslim.tasks.detect import Detection, find_objects
from yoloslim.tasks.evaluate_dataset import evaluate_dataset
from yoloslim.tasks.train_folder import Request as TrainRequest
from yoloslim.tasks.train_folder import Trained, train_folder

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

T = TypeVar("T")
Picture = str | PathLike[str] | NDArray[np.uint8]


def load(path: str | PathLike[str]) -> Detector:
    """A stored model (.safetensors), or one of another program (.pt, .weights); nothing in the file is run.

    Raises:
        ModelError: no model file, or one that is broken.
        WeightsError: a file of another program that cannot be imported.
    """
    return read_model(_path("path", path))


def build(name: str, classes: Sequence[str], imgsz: int = 640) -> Detector:
    """A freshly initialised detector such as `yolov5n`; `yoloslim models` lists the names.

    Raises:
        ModelError: no such model, or classes that are no list of different names.
    """
    if isinstance(classes, str):
        raise ModelError(f"classes is the text '{classes}'; give a list: ['{classes}']")
    if not isinstance(name, str) or not isinstance(classes, Iterable):
        given = name if not isinstance(name, str) else classes
        raise ModelError(f"{given!r} is a {type(given).__name__}; a name and a list are wanted: 'yolov5n', ['cat']")
    names = tuple(classes)
    twice = [each for each in dict.fromkeys(names) if names.count(each) > 1]
    if twice:
        raise ModelError(f"classes names '{twice[0]}' twice")
    return build_detector(name, names, imgsz)


def export(
    model: Detector, out: str | PathLike[str], file_format: str = "onnx", options: ExportOptions | None = None
) -> Manifest:
    """Write a detector for a runtime into a folder, compared with PyTorch, with its manifest.

    Raises:
        DeployError: no detector, or the graph cannot be written or computes something else.
    """
    if not isinstance(model, Detector):
        raise DeployError(f"model is a {type(model).__name__}; give a detector, such as yoloslim.load(file)")
    return export_model(model, _path("out", out), _options(options, ExportOptions), file_format)


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
    start = model if isinstance(model, str | Detector) else _path("model", model)
    request = TrainRequest(start, _path("data", data), layout, epochs, imgsz, device, seed, options)
    return train_folder(request, _path("out", out))


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
    inference = PredictorInference(_predictor(model, runtime), _options(options, NmsOptions))
    return evaluate_dataset(inference, _path("data", data), image_set, None, layout)


def detect(
    model: Detector | str | PathLike[str],
    images: Picture | Sequence[Picture] | Iterator[Picture],
    *,
    conf: float | None = None,
    iou: float | None = None,
    runtime: str | None = None,
) -> list[list[Detection]]:
    """Find objects in images.

    Args:
        model: as in `evaluate`.
        images: one image or a list of several: files, or arrays uint8 (H, W, 3), RGB, of any size.
        conf: lowest score, 0 to below 1; None is 0.25, or that of a graph with NMS inside, where that is higher.
        iou: overlap above which the worse box of a class goes, 0 to 1; None is 0.45, or the graph's own.
        runtime: as in `evaluate`.

    Returns:
        For every image the objects found, best first.

    Raises:
        ConfigError: a threshold is out of range, or decided inside the graph; or what should be a path is none.
        DataError: an image that cannot be read, or an array that is none.
        DeployError, ModelError: the model cannot be opened.
    """
    several = isinstance(images, Sequence | Iterator) and not isinstance(images, str | bytes)
    pictures = cast("Iterable[Picture]", images if several else [images])
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
        runtime: onnxruntime, openvino, ncnn, litert or tensorrt.
        count: pictures of the folder to use at most, at least 1.

    Returns:
        The manifest; its `max_abs_diff` is the largest difference of a logit from fp32 on the first images.

    Raises:
        DeployError: no pictures or of the wrong size, no such runtime or its package is missing, or an export that
            cannot be quantised.
        DataError: a picture that cannot be read.
    """
    if not isinstance(count, int) or count < 1:
        raise DeployError(f"count={count!r} takes no picture; give a whole number, 1 or more")
    with tempfile.TemporaryDirectory(prefix="yoloslim-export-") as folder:
        source = Path(folder) if isinstance(model, Detector) else _path("model", model)
        if isinstance(model, Detector):
            export_model(model, source)
        taken = images if isinstance(images, np.ndarray) else calibration_images(_path("images", images), source, count)
        return quantize_export(source, taken, _path("out", out), runtime)


def _predictor(model: Detector | str | PathLike[str], runtime: str | None) -> Predictor:
    if isinstance(model, Detector):
        if runtime and runtime_named(runtime).name != "pytorch":
            raise DeployError(f"a Detector runs on pytorch; export it for {runtime}, and give the folder")
        return TorchPredictor(model)
    return open_predictor(_path("model", model), runtime)


def _path(name: str, given: object) -> Path:
    if not isinstance(given, str | PathLike):
        raise ConfigError(f"{name} is a {type(given).__name__}; give the path of a file or folder")
    return Path(given)


def _options(given: T | None, kind: type[T]) -> T:
    if given is not None and not isinstance(given, kind):
        raise ConfigError(f"options is a {type(given).__name__}; give a {kind.__module__}.{kind.__name__}")
    return kind() if given is None else given
