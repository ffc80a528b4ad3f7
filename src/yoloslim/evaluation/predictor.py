"""Predictors: anything that maps uint8 images to raw head outputs. Decoding and metrics do not care which."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from yoloslim.errors import DeployError
from yoloslim.evaluation.decode import Anchors, Floats, to_numpy
from yoloslim.models.detector import Detector, fuse

Images = NDArray[np.uint8]
Precision = Literal["fp32", "bf16"]
Preprocess = Callable[[Images], Floats]
"""Maps images (B, S, S, 3) to network input (B, 3, S, S)."""


class Predictor(Protocol):
    """What evaluation and speed measurement need of a runtime.

    Attributes:
        backend: runtime and device that every number is labelled with, such as `onnxruntime-cpu`.
        preprocessing: how bytes become network input, such as `float/255`.
        anchors: (level, anchor, 2) in canvas pixels.
        strides: canvas pixels per cell, by level.
        classes: names in the order of the outputs.
        imgsz: side of the images in pixels.
    """

    @property
    def backend(self) -> str: ...  # noqa: D102
    @property
    def preprocessing(self) -> str: ...  # noqa: D102
    @property
    def anchors(self) -> Anchors: ...  # noqa: D102
    @property
    def strides(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def classes(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def imgsz(self) -> int: ...  # noqa: D102

    def predict(self, images: Images) -> list[Floats]:
        """Raw logits (B, anchors, H, W, 5 + classes) by level, of RGB images (B, S, S, 3)."""
        ...

    def set_threads(self, threads: int) -> None:
        """Use this many CPU threads from now on."""
        ...


class GraphDescription(Protocol):
    """What must be known of an exported graph to run it; `deploy.manifest.Manifest` is one."""

    @property
    def input_name(self) -> str: ...  # noqa: D102
    @property
    def head_names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def anchors(self) -> Anchors: ...  # noqa: D102
    @property
    def strides(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def classes(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def imgsz(self) -> int: ...  # noqa: D102


def divide_by_255(images: Images) -> Floats:
    """Images (B, S, S, 3) as contiguous float32 (B, 3, S, S) in [0, 1]."""
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return planes.astype(np.float32) / np.float32(255)


class TorchPredictor:
    """Runs a Detector in PyTorch, BatchNorm folded, channels last."""

    preprocessing = "float/255"

    def __init__(self, model: Detector, device: str = "cpu", precision: Precision = "fp32") -> None:
        self._device = torch.device(device)
        self._model = fuse(model).to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._precision = precision
        self.backend = f"pytorch-{self._device.type}" + ("-bf16" if precision == "bf16" else "")
        self.anchors = model.spec.anchors
        self.strides = model.spec.strides
        self.classes = model.spec.classes
        self.imgsz = model.spec.imgsz

    def predict(self, images: Images) -> list[Floats]:
        """See `Predictor.predict`."""
        # A NHWC array seen as NCHW already lies in memory as channels_last wants it: nothing is copied.
        batch = torch.from_numpy(np.array(images)).to(self._device).permute(0, 3, 1, 2)
        bf16 = self._precision == "bf16"
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            return [to_numpy(head) for head in self._model(batch.float() / 255)]

    def set_threads(self, threads: int) -> None:
        """See `Predictor.set_threads`; PyTorch keeps this number per process."""
        torch.set_num_threads(threads)


class OnnxPredictor:
    """Runs an exported graph in ONNX Runtime on the CPU."""

    backend = "onnxruntime-cpu"

    def __init__(
        self,
        path: Path,
        graph: GraphDescription,
        threads: int | None = None,
        preprocess: Preprocess = divide_by_255,
        preprocessing: str = "float/255",
    ) -> None:
        """Load the graph.

        Args:
            path: the ONNX file.
            graph: names and geometry, usually its manifest.
            threads: CPU threads; None uses all cores.
            preprocess: what stands between bytes and network.
            preprocessing: its name, for the results.

        Raises:
            DeployError: the file is no ONNX graph, or lacks an input or output that the description names.
        """
        self._path, self._preprocess, self.preprocessing = path, preprocess, preprocessing
        self._input, self._heads = graph.input_name, list(graph.head_names)
        self.anchors, self.strides = graph.anchors, graph.strides
        self.classes, self.imgsz = graph.classes, graph.imgsz
        self._threads = threads or os.cpu_count() or 1
        self._session = self._load()

    def predict(self, images: Images) -> list[Floats]:
        """See `Predictor.predict`. A graph with a fixed batch of 1 is run once an image."""
        batch = self._preprocess(images)
        fixed = self._session.get_inputs()[0].shape[0]
        if fixed in (len(batch), None) or isinstance(fixed, str):
            return self._run(batch)
        if fixed != 1:
            raise DeployError(f"{self._path} takes batches of exactly {fixed} images, not {len(batch)}")
        single = [self._run(batch[i : i + 1]) for i in range(len(batch))]
        return [np.concatenate(level) for level in zip(*single, strict=True)]

    def set_threads(self, threads: int) -> None:
        """See `Predictor.set_threads`; ONNX Runtime fixes it per session, so this loads the graph again."""
        if threads != self._threads:
            self._threads = threads
            self._session = self._load()

    def _run(self, batch: Floats) -> list[Floats]:
        return [to_numpy(head) for head in self._session.run(self._heads, {self._input: batch})]

    def _load(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
            raise DeployError(f"ONNX Runtime cannot load {self._path}: {error}") from error
        inputs, outputs = ({node.name for node in nodes} for nodes in (session.get_inputs(), session.get_outputs()))
        missing = ({self._input} - inputs) | (set(self._heads) - outputs)
        if missing:
            raise DeployError(
                f"{self._path} lacks {', '.join(sorted(missing))}; it has inputs {sorted(inputs)} and outputs "
                f"{sorted(outputs)}: does the manifest belong to this file?"
            )
        return session
