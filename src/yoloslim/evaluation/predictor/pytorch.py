"""PyTorch: the reference that every other runtime is compared with."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from yoloslim.choices import Precision
from yoloslim.cores import thread_count, usable_cores
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor.base import Images, check_images, to_numpy
from yoloslim.models.detector import Detector, fuse

SHARE = 8
"""On a CPU, images of larger batches are computed in shares of so many, one thread each: see `training.shares`."""


class TorchPredictor:
    """Runs a Detector in PyTorch, BatchNorm folded, channels last."""

    preprocessing = "float/255"
    concurrent = True
    share = SHARE

    def __init__(
        self, model: Detector, device: str = "cpu", precision: Precision = "fp32", any_shape: bool = False
    ) -> None:
        """Take a model, on a device such as `cpu` or `cuda:0`; `any_shape` lets in smaller images than imgsz."""
        self.takes_any_shape = any_shape
        self._device = torch.device(device)
        if self._device.type == "cpu" and torch.get_num_threads() > usable_cores():
            torch.set_num_threads(usable_cores())  # PyTorch knows no quota of a container
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        fused = fuse(model).to(self._device, self._dtype)
        self._model = fused.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.backend = f"pytorch-{self._device.type}" + ("-bf16" if precision == "bf16" else "")
        self.head = model.spec.head
        self.classes = model.spec.classes
        self.imgsz = model.spec.imgsz

    def predict(self, images: Images) -> list[Floats]:
        """See `Predictor.predict`."""
        check_images(images, self.imgsz, self.backend, max(self.head.strides) if self.takes_any_shape else None)
        if self._device.type != "cpu" or len(images) <= SHARE:
            return self._run(images)
        shares = [images[start : start + SHARE] for start in range(0, len(images), SHARE)]
        with ThreadPoolExecutor(thread_count(0, "threads"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            found = list(pool.map(self._run, shares))
        return [np.concatenate(level) for level in zip(*found, strict=True)]

    def _run(self, images: Images) -> list[Floats]:
        # A NHWC array seen as NCHW already lies in memory as channels_last wants it: nothing is copied.
        batch = torch.from_numpy(np.array(images)).to(self._device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return [to_numpy(head) for head in self._model(batch.to(self._dtype) / 255)]

    def set_threads(self, threads: int) -> None:
        """See `Predictor.set_threads`; PyTorch keeps this number per process."""
        torch.set_num_threads(threads)
