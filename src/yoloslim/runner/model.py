"""A deployed model in the folder of its bundle: the compiled one on its chip, or its graph in ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import nv12, suppression
from .acl_session import AclSession
from .errors import RunnerError
from .names import PLAIN_NAMES, is_plain, is_plain_path
from .pictures import letterbox, read_picture
from .rknn_session import RknnSession
from .tasks import Inference

MAX_SIDE = 8192
"""Of a model's input, px; the same as in `models.spec`."""
SOURCES = ("nv12", "rgb")
"""What a model may be fed: the decoder's output, or pixels."""
LABELS = {"acl": "ascend-acl", "rknnlite": "rockchip-rknnlite", "onnxruntime": "onnxruntime-cpu"}
"""Backends, and what their results are labelled with: nothing that ran on a CPU is called after a chip."""
COMPILED = {"acl": "model.om", "rknnlite": "model.rknn"}
"""What a chip's backend runs."""
COMPILE = {"acl": "`bash atc.sh` in the same folder", "rknnlite": "`yoloslim compile --target` on a desk"}
"""What makes it."""


class OnnxSession:
    """The graph behind an emulated AIPP, in ONNX Runtime; takes the same bytes as the compiled model."""

    def __init__(self, path: str, bundle: dict[str, Any], threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise RunnerError(
                "device", f"Python cannot import onnxruntime ({error}): pip3 install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
            raise RunnerError("model", f"ONNX Runtime cannot load {path}: {error}") from error
        self._input, self._heads = bundle["input_name"], [output["name"] for output in bundle["outputs"]]
        self._size, self._source = bundle["imgsz"], bundle["aipp_input"]

    def infer(self, images: np.ndarray) -> list[np.ndarray]:
        """Heads of one image a row, in the layout that AIPP would be fed."""
        size = self._size
        if self._source == "nv12":
            images = nv12.from_nv12(images.reshape(-1, size * 3 // 2, size))
        pixels = nv12.scale(images.reshape(-1, size, size, 3))
        count, batch = len(pixels), self._session.get_inputs()[0].shape[0]
        if isinstance(batch, int):  # else it is open
            pixels = np.concatenate([pixels, np.zeros((batch - count, *pixels.shape[1:]), np.float32)])
        return [head[:count] for head in self._session.run(self._heads, {self._input: pixels})]

    def close(self) -> None:
        """Nothing to give back."""


def open_session(folder: Path, bundle: dict[str, Any], backend: str, threads: int = 0) -> Any:
    """The model of a bundle, ready to run.

    Args:
        folder: where it lies.
        bundle: what `load_bundle` read there.
        backend: one of `LABELS`.
        threads: CPU threads of ONNX Runtime; 0 takes all cores.

    Raises:
        RunnerError: the model or the runtime is missing.
        AclError: the device refused.
    """
    name = COMPILED.get(backend, bundle["graph"])
    path = folder / name
    if not path.is_file():
        way = f"compile the model first ({COMPILE[backend]})" if backend in COMPILE else "copy the bundle again"
        raise RunnerError("model", f"{path} is missing: {way}")
    if backend == "acl":
        return AclSession(str(path), gears=tuple(bundle["gears"]))
    if backend == "rknnlite":
        return RknnSession(str(path), bundle["soc_version"], [output["shape"] for output in bundle["outputs"]])
    return OnnxSession(str(path), bundle, threads or os.cpu_count() or 1)


def load_bundle(folder: Path) -> dict[str, Any]:
    """What a bundle says about its model: `bundle.json`.

    Raises:
        RunnerError: it cannot be read, or gives a file or tensor a name that is not plain.
    """
    path = folder / "bundle.json"
    try:
        bundle = json.loads(path.read_text(encoding="utf-8"))
        if bundle["version"] != 2:
            raise RunnerError("model", "{} has version {}, this runner reads 2".format(path, bundle["version"]))
        names = [bundle["graph"], bundle["input_name"], *(output["name"] for output in bundle["outputs"])]
        odd = [n for n in names if not is_plain(n)] + [n for n in bundle["files"] if not is_plain_path(n)]
        if type(bundle["imgsz"]) is not int or not 32 <= bundle["imgsz"] <= MAX_SIDE:
            raise RunnerError("model", f"{path}: imgsz {bundle['imgsz']!r} is not a number of pixels up to {MAX_SIDE}")
        if odd:
            raise RunnerError("model", f"{path}: {odd[0]!r} is not {PLAIN_NAMES}")
        if bundle["aipp_input"] not in SOURCES:
            raise RunnerError("model", "{}: aipp_input {!r} is none of {}".format(path, bundle["aipp_input"], SOURCES))
        if not bundle["classes"] or len(bundle["outputs"]) != len(bundle["head"]["strides"]):
            raise RunnerError("model", f"{path} lacks classes, or an output for each level of its head")
        if bundle["graph"] not in bundle["files"]:
            raise RunnerError("model", "{} has no checksum of its graph {}".format(path, bundle["graph"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunnerError("model", f"{path} cannot be read ({error}): copy the bundle again") from error
    return bundle  # type: ignore[no-any-return]


def check_files(folder: Path, files: dict[str, str]) -> None:
    """Make sure that every file has the sha256 that it should have.

    Raises:
        RunnerError: one has not; `kind` is `changed`.
    """
    for name, wanted in files.items():
        digest = hashlib.sha256()
        try:
            with (folder / name).open("rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    digest.update(block)
        except OSError as error:
            raise RunnerError("changed", f"{name} of the bundle is missing: {error.strerror}") from error
        if digest.hexdigest() != wanted:
            message = "%s of the bundle is not the file that was packed: it changed on its way; copy the bundle again"
            raise RunnerError("changed", message % name)


class BoardInference(Inference):
    """The four steps with what a bundle holds."""

    def __init__(self, folder: Path, backend: str, options: dict[str, Any]) -> None:
        self._bundle = load_bundle(folder)
        check_files(folder, self._bundle["files"])
        self._options = dict(suppression.DEFAULTS, **options)
        self.backend, self.classes = LABELS[backend], self._bundle["classes"]
        self._session = open_session(folder, self._bundle, backend)

    def read(self, path: Path) -> np.ndarray:
        """See `Inference.read`."""
        return read_picture(path)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, Any]:
        """See `Inference.prepare`; the canvas is already in the layout that AIPP is fed."""
        b = self._bundle
        canvas, place = letterbox(image, b["imgsz"], b["letterbox_align"], b["letterbox_fill"])
        return nv12.to_nv12(canvas[None])[0] if b["aipp_input"] == "nv12" else canvas, place

    def infer(self, canvas: np.ndarray) -> list[np.ndarray]:
        """See `Inference.infer`."""
        return self._session.infer(canvas[None])  # type: ignore[no-any-return]

    def find(self, heads: Sequence[np.ndarray], place: Any) -> np.ndarray:
        """See `Inference.find`."""
        rows = suppression.find(heads, self._bundle, self._options)
        return place.to_image(rows)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Give the device back."""
        self._session.close()
