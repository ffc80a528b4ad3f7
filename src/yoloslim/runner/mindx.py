"""The tasks by the MindX SDK (mxVision): its pipelines decode, resize, infer and post-process, one call an image.

The bundle's `mindx/detect.pipeline` and `mindx/eval.pipeline` are started by `StreamManagerApi`, as documented: JPEG
in, `MxpiObject` as JSON out, in pixels of the image. They take the thresholds of `mindx/yolov5_*.cfg`.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .bounded import read_bounded
from .errors import RunnerError
from .model import check_files, load_bundle
from .pictures import is_turned, read_picture
from .tasks import QUANTILES, Inference, peak_memory_mb

LABEL = "ascend-mindx"
TIMEOUT_MS = 10000
"""How long an image may take; the first one loads what is not loaded yet."""
IN_FLIGHT = 4
"""Images that are sent ahead when throughput is measured, so that the pipeline's parts overlap."""
_MOST_BYTES = 64 << 20


class MindxInference(Inference):
    """A pipeline of the bundle, from JPEG to detections."""

    def __init__(self, folder: Path, task: str) -> None:
        """Start it.

        Args:
            folder: of the bundle.
            task: `detect` or `eval`, which have thresholds of their own.

        Raises:
            RunnerError: the bundle has no pipelines or is damaged, the SDK is not installed, or it refused them.
        """
        bundle = load_bundle(folder)
        check_files(folder, bundle["files"])
        self.backend, self.classes, self._task = LABEL, bundle["classes"], task.encode()
        pipeline = read_pipeline(folder, task)
        try:
            import StreamManagerApi
        except ImportError as error:
            raise RunnerError(
                "device",
                f"Python cannot import StreamManagerApi ({error}): source the set_env.sh of the MindX SDK (mxVision), "
                "or name it in MX_SET_ENV",
            ) from error
        self._input = StreamManagerApi.MxDataInput
        self._manager = StreamManagerApi.StreamManagerApi()
        self._call("InitManager")
        self._call("CreateMultipleStreams", json.dumps(pipeline).encode())

    def load(self, path: Path) -> tuple[np.ndarray, np.ndarray, Any]:
        """See `Inference.load`; what stands for the canvas is the file itself, which the SDK decodes.

        Raises:
            RunnerError: it cannot be read, is no JPEG, or is turned by EXIF, which the SDK does not heed.
        """
        image, data = read_picture(path), read_jpeg(path)
        if is_turned(data, image):
            raise RunnerError(
                "image", f"image {path} is turned by its EXIF orientation, which MindX does not heed: save it upright"
            )
        return image, np.frombuffer(data, np.uint8), (image.shape[1], image.shape[0])

    def read(self, path: Path) -> np.ndarray:
        """See `Inference.read`."""
        return read_picture(path)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, Any]:
        """Not to be had: the SDK resizes what it decodes."""
        raise NotImplementedError("MindX takes files, not pixels")

    def infer(self, canvas: np.ndarray) -> list[np.ndarray]:
        """See `Inference.infer`: detections (n, 6) in pixels of the image, of a whole JPEG file as bytes (n,)."""
        return [self.receive(self.send(canvas.tobytes()))]

    def find(self, heads: list[np.ndarray], place: Any) -> np.ndarray:
        """See `Inference.find`: best first, clipped to the image; boxes without area there are left out."""
        (rows,), (width, height) = heads, place
        rows[:, :4] = np.clip(rows[:, :4], 0, np.array([width, height] * 2, np.float32))
        rows = rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]
        return rows[np.argsort(-rows[:, 4], kind="stable")]

    def send(self, data: bytes) -> int:
        """Give the pipeline a JPEG; the number to ask for its result with."""
        packed = self._input()
        packed.data = data
        number = int(self._manager.SendDataWithUniqueId(self._task, 0, packed))
        if number < 0:
            raise RunnerError("device", f"MindX did not take an image: SendDataWithUniqueId returned {number}")
        return number

    def receive(self, number: int) -> np.ndarray:
        """Detections (n, 6) of what was sent: `xyxy` in pixels of the image, score, class."""
        result = self._manager.GetResultWithUniqueId(self._task, number, TIMEOUT_MS)
        if result is None or result.errorCode != 0:
            code = "no result" if result is None else f"error {result.errorCode}: {_text(result.data)[:200]}"
            raise RunnerError("device", f"MindX gave {code}; its log (mxVision/logs) says more")
        return parse_objects(_text(result.data), len(self.classes))

    def close(self) -> None:
        """End the streams; the SDK allows that once a process."""
        self._manager.DestroyAllStreams()

    def _call(self, name: str, *arguments: bytes) -> None:
        code = getattr(self._manager, name)(*arguments)
        if code != 0:
            raise RunnerError("device", f"MindX refused {name} (code {code}); its log (mxVision/logs) says more")


def read_pipeline(folder: Path, task: str) -> dict[str, Any]:
    """A pipeline of a bundle, its files named from the root, so that it can be started anywhere.

    Raises:
        RunnerError: the bundle has none, or it cannot be read, or a file of it is missing.
    """
    path = folder / "mindx" / (task + ".pipeline")
    if not path.is_file():
        raise RunnerError("model", f"{path} is missing: MindX decodes no head but YOLOv5's; run without BACKEND=mindx")
    try:
        pipeline: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        elements = [element for element in pipeline[task].values() if "factory" in element]
        properties = [element["props"] for element in elements if "props" in element]
        for values in properties:
            for key, value in values.items():
                if value.startswith("./"):
                    values[key] = str((folder / value).resolve())
                    if not Path(values[key]).is_file():
                        fix = (
                            "compile the model first (`bash atc.sh`)" if key == "modelPath" else "copy the bundle again"
                        )
                        raise RunnerError("model", f"{values[key]} is missing: {fix}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunnerError("model", f"{path} cannot be read ({error}): copy the bundle again") from error
    return pipeline


def read_jpeg(path: Path) -> bytes:
    """A file for the chip's decoder.

    Raises:
        RunnerError: it cannot be read or is no JPEG.
    """
    try:
        data = read_bounded(path, _MOST_BYTES)
    except OSError as error:
        raise RunnerError("image", f"image {path} cannot be read: {error.strerror or error}") from error
    if data[:3] != b"\xff\xd8\xff":
        raise RunnerError("image", f"image {path} is no JPEG, and MindX decodes nothing else: convert it")
    return data


def parse_objects(text: str, classes: int) -> np.ndarray:
    """Detections (n, 6) of the JSON that `mxpi_dataserialize` gives; without `MxpiObject` nothing was found.

    Raises:
        RunnerError: it is no such thing, or names a class that the model does not have.
    """
    rows = []
    try:
        for found in json.loads(text).get("MxpiObject", []):
            best = found["classVec"][0]
            label = int(best["classId"])
            if not 0 <= label < classes:
                raise RunnerError("model", f"MindX found class {label} of a model of {classes}: copy the bundle again")
            rows.append([*(float(found[side]) for side in ("x0", "y0", "x1", "y1")), float(best["confidence"]), label])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise RunnerError("device", f"MindX gave what is not its documented result ({error}): {text[:200]}") from error
    return np.array(rows, np.float32).reshape(-1, 6)


def measure_pipeline(inference: MindxInference, paths: Sequence[Path], warmup: int = 5) -> list[str]:
    """Time the pipeline, one image at a time and with several in flight; lines for a terminal."""
    files = [read_jpeg(path) for path in paths]
    for _ in range(warmup):
        inference.receive(inference.send(files[0]))
    times = []
    for data in files:
        start = time.perf_counter()
        inference.receive(inference.send(data))
        times.append(1e3 * (time.perf_counter() - start))
    waiting: deque[int] = deque()
    start = time.perf_counter()
    for data in files:
        waiting.append(inference.send(data))
        if len(waiting) >= IN_FLIGHT:
            inference.receive(waiting.popleft())
    for number in waiting:
        inference.receive(number)
    together = len(files) / (time.perf_counter() - start)
    quantiles = "".join(f"{np.percentile(times, q):9.2f}" for q in QUANTILES)
    return [
        f"{len(files)} images on {inference.backend}, from JPEG in memory to boxes; what a step takes the SDK keeps",
        f"{'ms':12}" + "".join(f"{f'p{q}':>9}" for q in QUANTILES),
        f"{'end-to-end':12}{quantiles}",
        f"throughput: {1e3 * len(times) / sum(times):.1f} images/s one at a time, "
        f"{together:.1f} with {IN_FLIGHT} in flight",
        f"peak memory: {peak_memory_mb():.0f} MB",
    ]


def _text(data: Any) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
