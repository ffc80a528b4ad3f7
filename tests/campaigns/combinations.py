"""Every runtime with every kind of head in every precision: `python -m tests.campaigns.combinations [words ...]`.

Prints which combinations give what PyTorch gives, how far off they are, why the others fail, and the count. With words,
only combinations that have one of them in their name. Networks are whole, at 64 px, with seeded weights; those
runtimes whose toolchain, or GPU, is not here are left out and named.
"""

import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tests.tiny import shake_norms
from tests.toolchains import has_tensorrt
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import quantize
from yoloslim.deploy.rockchip.compilation import RknnOptions, compile_rknn
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.predictor import Predictor
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector, build_detector
from yoloslim.toolchains import TOOLCHAINS, state_of

HEADS = {
    "yolov5n": "anchors",
    "yolov3-tiny": "anchors, Darknet's boxes",
    "yolov8n": "anchor-free",
    "yolo11n": "anchor-free, depthwise",
    "yolo26n": "end-to-end",
}
RUNTIMES = {
    "pytorch": ("fp32",),
    "onnxruntime": ("fp32", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "ncnn": ("fp32", "fp16", "int8"),
    "litert": ("fp32", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
    "rknn": ("fp16", "int8"),
}
TOOLCHAIN = {"litert": "litert", "rknn": "rockchip"}
ALLOWED = {"fp32": 1e-3, "fp16": 0.1, "int8": 0.6}
"""Mean difference from PyTorch as a share of how much outputs vary over the cells, which biases do not: a graph that
gives biases alone, or any other picture's outputs, is 1 off or more. What random weights let through varies little."""
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Combination:
    """A runtime, an architecture that stands for its kind of head, and a precision."""

    runtime: str
    model: str
    precision: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.model} {self.precision}"


COMBINATIONS = [Combination(r, m, p) for m in HEADS for r, precisions in RUNTIMES.items() for p in precisions]


@cache
def detector(name: str) -> Detector:
    """A network with statistics such as training leaves."""
    torch.manual_seed(0)
    model = build_detector(name, ("a", "b"), 64).eval()
    shake_norms(model)
    return model


def difference(one: Combination, root: Path) -> float:
    """What a combination gives other than PyTorch; see `ALLOWED`.

    Args:
        one: the combination.
        root: a folder, the same for several, that ONNX exports are kept in.

    Raises:
        DeployError: it cannot be written, or not be run.
    """
    wanted = TorchPredictor(detector(one.model), "cpu").predict(IMAGES[:2])
    found = _opened(one, root).predict(IMAGES[:2])
    assert [head.shape for head in found] == [head.shape for head in wanted]
    cells = (0, 2, 3)
    return max(
        float(np.abs(a - b).mean() / np.abs(b - b.mean(axis=cells, keepdims=True)).mean())
        for a, b in zip(found, wanted, strict=True)
    )


def _opened(one: Combination, root: Path) -> Predictor:
    onnx, out = root / one.model, root / str(one).replace(" ", "-")
    if one.runtime == "pytorch":
        return TorchPredictor(detector(one.model), "cpu")
    if not onnx.exists():
        export_model(detector(one.model), onnx)
    if one.runtime == "rknn":
        compile_rknn(onnx, out, RknnOptions("rk3588", one.precision), IMAGES)  # type: ignore[arg-type]
        return open_predictor(out, "rknn")
    if one.precision == "int8":
        quantize(onnx, IMAGES, out, one.runtime)
    elif one.runtime == "onnxruntime":
        out = onnx
    else:
        export_model(detector(one.model), out, file_format=one.runtime, weights=one.precision)  # type: ignore[arg-type]
    return open_predictor(out, one.runtime, threads=1)


def main() -> None:
    """Try all, print a line each and the count."""
    absent = {r for r, name in TOOLCHAIN.items() if state_of(TOOLCHAINS[name]).word != "installed"}
    absent |= set() if has_tensorrt() else {"tensorrt"}
    words = sys.argv[1:]
    chosen = [c for c in COMBINATIONS if c.runtime not in absent and (not words or any(w in str(c) for w in words))]
    passed = 0
    with tempfile.TemporaryDirectory() as root:
        for one in chosen:
            try:
                off = difference(one, Path(root))
            except Exception as error:  # whatever the packages of a runtime raise
                print(f"{one}: fails, {type(error).__name__}: {error}", flush=True)
                continue
            passed += off <= ALLOWED[one.precision]
            print(f"{one}: {'passes' if off <= ALLOWED[one.precision] else 'is too far off'}, {off:.2g}", flush=True)
    print(f"{passed} of {len(chosen)} combinations pass" + "".join(f"; {name} is not here" for name in absent))


if __name__ == "__main__":
    main()
