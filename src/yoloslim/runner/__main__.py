"""Command line of the runner: `detect`, `speed` and `eval` for people, `job` and `probe` for the desk."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from . import damage, headers, mindx
from .errors import RunnerError
from .job import run_job, say
from .model import LABELS, BoardInference
from .output import Output
from .rknn_session import chip_here
from .scores import mean_average_precision
from .tasks import Inference, boxes_of, draw_detections, measure, measure_overlapped, speed_lines
from .voc import find_dataset, image_set_of, read_image_set, read_truth, write_results

BACKENDS = (*sorted(LABELS), "mindx")
"""What runs a bundle's tasks; the job of a desk needs raw outputs, which the SDK does not give."""
THRESHOLDS = {"conf": 0.25, "iou": 0.45}
"""Of `detect`, as of the bundle's detect.pipeline."""


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit status is 0 only if it did what it says."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.run in (detect, speed, evaluate) and options.backend not in BACKENDS:  # argparse checks no defaults
        parser.error("BACKEND={} is unknown; choose {}".format(options.backend, ", ".join(BACKENDS)))
    headers.limit_megapixels(getattr(options, "max_megapixels", headers.MEGAPIXELS))
    try:
        options.run(options)
    except RunnerError as error:
        if options.command == "job":
            say(error={"kind": error.kind, "message": str(error)})
        else:
            sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def detect(options: Any) -> None:
    """Write the images with boxes to image_result/."""
    if options.backend == "mindx" and {key: getattr(options, key) for key in THRESHOLDS} != THRESHOLDS:
        raise RunnerError(
            "usage", "MindX takes its thresholds from mindx/yolov5_detect.cfg: leave out --conf and --iou"
        )
    changes = {"conf_thres": options.conf, "iou_thres": options.iou, "multi_label": False}
    inference = _inference(options, "detect", changes)
    paths = read_image_set(options.image_set, options.image_dir)
    output = Output(Path("image_result"), inference.classes, options.classes or (), options.save_txt, options.crops)
    with damage.told(_warn):
        found, complaint = draw_detections(inference, paths, output, _warn)
    if complaint:
        raise RunnerError("image", complaint)
    print(f"{len(found)} images with boxes in image_result/, found on {inference.backend}")


def speed(options: Any) -> None:
    """Print how long every stage takes."""
    paths = read_image_set(options.image_set, options.image_dir)
    inference = _inference(options, "detect", {})
    with damage.told(_warn):
        if isinstance(inference, mindx.MindxInference):
            lines = mindx.measure_pipeline(inference, paths)
        else:
            result = measure(inference, paths)
            lines = speed_lines({**result, "fps_overlapped": measure_overlapped(inference, paths)})
    print("\n".join(lines))


def evaluate(options: Any) -> None:
    """Write result files to txt_result/ and print the mean average precision."""
    dataset = find_dataset(options.dataset)
    paths = read_image_set(image_set_of(dataset, options.image_set), dataset / "JPEGImages")
    inference = _inference(options, "eval", {})
    truth = [read_truth(dataset / "Annotations" / (path.stem + ".xml"), inference.classes) for path in paths]
    with damage.told(_warn):
        found = list(boxes_of(inference, paths))
    names = [path.stem for path in paths]
    for note in write_results(Path("txt_result"), options.image_set, inference.classes, names, found):
        _warn(note)
    for name, value in mean_average_precision(truth, found, len(inference.classes)).items():
        print(f"{name:12} {value:.4f}")
    print(f"{len(paths)} images on {inference.backend}; result files in txt_result/")


def probe(_: Any) -> None:
    """Say what this machine has, as one line of JSON."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }
    facts["free_bytes"] = shutil.disk_usage(".").free
    facts["acl"], facts["devices"] = _acl_devices()
    facts["cann"] = os.environ.get("ASCEND_TOOLKIT_HOME", os.environ.get("ASCEND_HOME_PATH", ""))
    facts["rknnlite"] = _rknnlite()
    facts["chip"] = _chip() or chip_here()
    say(probe=facts)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _rknnlite() -> str:
    try:
        from rknnlite.api import RKNNLite  # noqa: F401
    except Exception as error:  # a broken installation may raise anything; it is what we want to know
        return str(error) or type(error).__name__
    return "ok"


def _acl_devices() -> tuple[str, int]:
    try:
        import acl

        count, code = acl.rt.get_device_count()
    except Exception as error:  # a broken installation may raise anything; it is what we want to know
        return str(error) or type(error).__name__, 0
    return ("ok" if code == 0 else f"acl.rt.get_device_count returned {code}"), count


def _chip() -> str:
    """The chip's name as `atc --soc_version` wants it, from the table that npu-smi prints; empty if unknown."""
    try:
        done = subprocess.run(["npu-smi", "info"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = done.stdout.decode("utf-8", "replace").replace("|", " ").split()
    return next(("Ascend" + word for word in words if word.startswith("310")), "")


def _inference(options: Any, task: str, changes: dict[str, Any]) -> Inference:
    folder = Path(os.environ.get("YOLOSLIM_BUNDLE", "."))
    if options.backend == "mindx":
        return mindx.MindxInference(folder, task)
    return BoardInference(folder, options.backend, changes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("--backend", choices=BACKENDS, default=os.environ.get("BACKEND", "acl"))
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.required = True
    for name, function in (("detect", detect), ("speed", speed)):
        command = commands.add_parser(name, help=function.__doc__)
        command.add_argument("image_set", type=Path, help="text file: one image name a line, without suffix")
        command.add_argument("image_dir", type=Path, help="where these images are")
        _add_limit(command)
        command.set_defaults(run=function)
        if name == "detect":
            command.add_argument("--conf", type=_score, default=THRESHOLDS["conf"], help="lowest score that is drawn")
            command.add_argument(
                "--iou", type=_share, default=THRESHOLDS["iou"], help="overlap above which the worse box goes"
            )
            command.add_argument("--classes", action="append", help="names or numbers of those drawn, with commas")
            command.add_argument("--save-txt", action="store_true", help="boxes as labels/NAME.txt, as YOLO has them")
            command.add_argument("--crops", action="store_true", help="every box cut out, crops/CLASS/NAME-NUMBER.jpg")
    command = commands.add_parser("eval", help=evaluate.__doc__)
    command.add_argument("dataset", type=Path, help="data set in VOC layout, such as VOCdevkit/")
    command.add_argument("--image-set", default="test", help="name of a file in ImageSets/Main")
    _add_limit(command)
    command.set_defaults(run=evaluate)
    command = commands.add_parser("job", help="evaluate the pixels that were sent, and go on where it was stopped")
    command.add_argument("folder", type=Path)
    command.set_defaults(run=lambda options: run_job(options.folder))
    commands.add_parser("probe", help=probe.__doc__).set_defaults(run=probe)
    return parser


def _score(text: str) -> float:
    return _within(text, lambda value: 0 <= value < 1, "a number from 0 to below 1")


def _share(text: str) -> float:
    return _within(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def _above_0(text: str) -> float:
    return _within(text, lambda value: value > 0, "a number above 0")


def _within(text: str, fits: Callable[[float], bool], wanted: str) -> float:
    with suppress(ValueError):
        value = float(text)
        if fits(value):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")


def _add_limit(command: argparse.ArgumentParser) -> None:
    text = "larger pictures are not decoded, millions of pixels"
    command.add_argument("--max-megapixels", type=_above_0, default=headers.MEGAPIXELS, help=text)


if __name__ == "__main__":
    sys.exit(main())
