"""Files for Huawei's MindX SDK (mxVision), generated from the manifest: pipelines, post-processing, class names.

The SDK's post-processor `libyolov3postprocess.so` decodes YOLOv5 under one combination of settings only, wants raw
logits of rank 5 and assumes that the image lies at the top left of its canvas; `check_mindx` holds files to that.
"""

import json
import logging
from pathlib import Path
from typing import Any

from yoloslim.choices import AippInput
from yoloslim.deploy.manifest import Manifest
from yoloslim.errors import DeployError
from yoloslim.files import write_text

logger = logging.getLogger(__name__)

FOLDER = "mindx"
TASKS = {"detect": (0.25, 0.25, 0.45), "eval": (0.001, 0.001, 0.6)}
"""Score, objectness and overlap thresholds by task."""

_LIBRARY = "libyolov3postprocess.so"
_NAMES = f"{FOLDER}/classes.names"
_FIXED = {"YOLO_VERSION": "5", "MODEL_TYPE": "2", "FRAMEWORK": "PyTorch"}
"""The only combination for YOLOv5 that the library accepts; MODEL_TYPE 2 is NCHWC."""


def write_mindx(folder: Path, manifest: Manifest, source: AippInput) -> list[str]:
    """Write `mindx/` for a bundle and check it; paths in it hold when the SDK is started in the bundle's folder.

    Returns:
        The files, relative to `folder`; none for a model whose head the post-processor does not decode.

    Raises:
        DeployError: the model is not what the post-processor decodes.
    """
    if manifest.head.mindx() is None:
        logger.warning(
            "no MindX files are written for %s: the SDK's own post-processing covers the anchor heads of YOLOv5 only; "
            "the bundle's runner decodes this one (run.sh)",
            manifest.model,
        )
        return []
    texts = {_NAMES: "".join(f"{name}\n" for name in manifest.classes)}
    for task in TASKS:
        texts[f"{FOLDER}/yolov5_{task}.cfg"] = postprocess_config(manifest, task)
        texts[f"{FOLDER}/{task}.pipeline"] = json.dumps(task_stream(manifest, task, source), indent=4) + "\n"
    for name, text in texts.items():
        write_text(folder / name, text)
    check_mindx(folder, manifest)
    return list(texts)


def postprocess_config(manifest: Manifest, task: str) -> str:
    """The post-processor's settings for `detect` or `eval`."""
    score, objectness, overlap = TASKS[task]
    values = {
        **_wanted(manifest),
        "SCORE_THRESH": score,
        "OBJECTNESS_THRESH": objectness,
        "IOU_THRESH": overlap,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _wanted(manifest: Manifest) -> dict[str, str]:
    """What the configuration must say of this model."""
    return {**(manifest.head.mindx() or {}), **_FIXED, "CLASS_NUM": str(len(manifest.classes))}


def task_stream(manifest: Manifest, task: str, source: AippInput) -> dict[str, Any]:
    """The stream of a task: decode, resize to the top left, infer, post-process, serialise.

    `nv12` decodes and resizes in the chip's own units, `rgb` in OpenCV on its CPU.
    """
    on_cpu = {"cvProcessor": "opencv"}
    decode = {**on_cpu, "outputDataFormat": "RGB"} if source == "rgb" else {}
    size = str(manifest.imgsz)
    resize = {"resizeType": "Resizer_KeepAspectRatio_Fit", "resizeHeight": size, "resizeWidth": size}
    if source == "rgb":
        fill = str(manifest.letterbox_fill)
        resize |= {**on_cpu, "paddingColorB": fill, "paddingColorG": fill, "paddingColorR": fill}
    elements: list[tuple[str, dict[str, str]]] = [
        ("appsrc", {"blocksize": "409600"}),
        ("mxpi_imagedecoder", decode),
        ("mxpi_imageresize", {"dataSource": "mxpi_imagedecoder0", **resize}),
        ("mxpi_tensorinfer", {"dataSource": "mxpi_imageresize0", "modelPath": "./model.om"}),
        (
            "mxpi_objectpostprocessor",
            {
                "dataSource": "mxpi_tensorinfer0",
                "postProcessConfigPath": f"./{FOLDER}/yolov5_{task}.cfg",
                "labelPath": f"./{_NAMES}",
                "postProcessLibPath": _LIBRARY,
            },
        ),
        ("mxpi_dataserialize", {"outputDataKeys": "mxpi_objectpostprocessor0"}),
        ("appsink", {"blocksize": "4096000"}),
    ]
    stream: dict[str, Any] = {"stream_config": {"deviceId": "0"}}
    for i, (factory, props) in enumerate(elements):
        element: dict[str, Any] = {"factory": factory}
        if props:
            element["props"] = props
        if i + 1 < len(elements):
            element["next"] = f"{elements[i + 1][0]}0"
        stream[f"{factory}0"] = element
    return {task: stream}


def check_mindx(folder: Path, manifest: Manifest) -> None:
    """Hold the MindX files of a bundle, generated or edited, to the rules of the SDK.

    Raises:
        DeployError: a rule is broken; names the file and the rule.
    """
    described = list(manifest.head.outputs(len(manifest.classes), manifest.imgsz).values())
    for output, shape in zip(manifest.heads, described, strict=True):
        if output.shape[1:] != shape:
            raise DeployError(
                f"output {output.name} has shape {list(output.shape)}; MindX needs raw logits (1, "
                f"{', '.join(map(str, shape))}): export with raw heads"
            )
    names = [line for line in (folder / _NAMES).read_text(encoding="utf-8").splitlines() if line]
    if names != list(manifest.classes) or any(name.startswith("#") for name in names):
        raise DeployError(
            f"{folder / _NAMES} must hold the model's {len(manifest.classes)} classes, one a line, in order"
        )
    for task in TASKS:
        _check_config(folder / FOLDER / f"yolov5_{task}.cfg", manifest)
        _check_pipeline(folder / FOLDER / f"{task}.pipeline", manifest, task)


def _check_config(path: Path, manifest: Manifest) -> None:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    for key, value in _wanted(manifest).items():
        if values.get(key) != value:
            raise DeployError(f"{path}: {key} must be {value}, not {values.get(key, 'missing')}, for this model")
    for key in ("SCORE_THRESH", "OBJECTNESS_THRESH", "IOU_THRESH"):
        if not 0 <= float(values.get(key, "nan")) <= 1:
            raise DeployError(f"{path}: {key} must be a number from 0 to 1, not {values.get(key, 'missing')}")


def _check_pipeline(path: Path, manifest: Manifest, task: str) -> None:
    stream = json.loads(path.read_text(encoding="utf-8"))[task]
    resize = stream["mxpi_imageresize0"]["props"]
    if resize.get("resizeType") != "Resizer_KeepAspectRatio_Fit" or resize.get("paddingType") is not None:
        raise DeployError(
            f"{path}: images must lie at the top left (resizeType Resizer_KeepAspectRatio_Fit, no paddingType): the "
            "post-processor never subtracts an offset, so centred images give shifted boxes"
        )
    if (resize["resizeWidth"], resize["resizeHeight"]) != (str(manifest.imgsz), str(manifest.imgsz)):
        raise DeployError(f"{path}: resizeWidth and resizeHeight must be {manifest.imgsz}, the model's input")
    if stream["mxpi_objectpostprocessor0"]["props"]["postProcessLibPath"].rsplit("/", 1)[-1] != _LIBRARY:
        raise DeployError(f"{path}: postProcessLibPath must name {_LIBRARY}")
    loose = [k for name, e in stream.items() for k, v in e.get("props", {}).items() if not isinstance(v, str)]
    if loose:
        raise DeployError(f"{path}: the SDK takes strings only; {', '.join(loose)} is none")
