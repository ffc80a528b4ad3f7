"""What the pages suppose a reader to have beside a finished project: photographs, videos, models, files of others."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.evaluation.predictor.fake_tensorrt import load_fake_tensorrt
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.latency import Clock
from yoloslim.models.detector import build_detector, count_params
from yoloslim.models.foreign.darknet.writer import export_darknet
from yoloslim.models.store import load_model, save_model
from yoloslim.toolchains.base import HOME, MARK


def prepare(folder: Path) -> None:
    """Add it to a finished project with percent 40, which stands for 50 too."""
    for name in ("finetune", "export"):
        shutil.copytree(folder / f"models/{name}/40", folder / f"models/{name}/50")
    shutil.copytree(folder / "models/export/40", folder / "EXPORT")
    for name in ("photos", "DATA", "VOCdevkit"):
        shutil.copytree(folder / "data/voc", folder / name)
    shutil.copytree(folder / "photos/JPEGImages", folder / "FOLDER")
    shutil.copy(next((folder / "FOLDER").iterdir()), folder / "photo.jpg")
    shutil.copytree(folder / "photos/JPEGImages", folder / "JPEGImages")
    shutil.copy(folder / "photos/ImageSets/Main/test.txt", folder)
    for name in ("boxes", "photos"):
        shutil.make_archive(str(folder / name), "zip", folder / "photos")
    classes = load_model(folder / "models/baseline/model.safetensors").spec.classes
    torch.manual_seed(0)
    for name, model, names in (
        ("mine.pt", "yolov5n", classes),
        ("model.pt", "yolov5n", classes),
        ("yolov5s.pt", "yolov5n", ("person", "car", "dog")),
        ("model.safetensors", "yolov5n", classes),
        ("yolo26.safetensors", "yolo26n", classes),
        ("pruned-yolov3.safetensors", "yolov3-tiny", classes),
    ):
        save_model(build_detector(model, names, imgsz=64), folder / name)
    export_darknet(build_detector("yolov3-tiny", ("person", "car"), imgsz=64), folder / "yolov4.cfg")
    (folder / "yolov4.names").rename(folder / "coco.names")
    export_model(load_model(folder / "model.safetensors"), folder / "theirs")
    shutil.copy(folder / "theirs/model.onnx", folder / "THEIRS.onnx")
    for name in ("a.mp4", "b.mp4"):
        video = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
        for level in (0, 100, 200):
            video.write(np.full((64, 64, 3), level, np.uint8))
        video.release()


def toolchain_of(line: str) -> str:
    """The converter of another maker that a command needs, which not every machine has; empty for none."""
    if "litert" in line and " remove " not in line:
        return "litert"
    return "rockchip" if "rk3588" in line else ""


def stand_in(line: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """What a line needs that is not here, made up: a GPU with TensorRT, minutes of measuring, a toolchain to remove."""
    if "tensorrt" in line or "trt-int8" in line:
        load_fake_tensorrt(patch)
    elif line.startswith("yoloslim prune model.pt"):
        patch.setattr(Clock, "speedup", lambda clock, model, repeats=None: 1_900_000 / count_params(model))
    elif line.startswith("yoloslim toolchain remove"):
        (folder / "toolchains/litert").mkdir(parents=True)
        (folder / "toolchains/litert" / MARK).write_text("{}")
        patch.setenv(HOME, str(folder / "toolchains"))
