"""A FAKE of Rockchip's rknn-toolkit-lite2, as far as it is used: a .rknn is an ONNX graph, run by ONNX Runtime.

A file that begins with CHIP is for another chip. FAKE_RKNN=die kills the process at its third image.
"""

import os
from pathlib import Path

import numpy as np
import onnxruntime


class RKNNLite:
    def __init__(self, verbose: bool = True) -> None:
        assert not verbose

    def load_rknn(self, path: str) -> int:
        self.data, self.count = Path(path).read_bytes(), 0
        return 0

    def init_runtime(self) -> int:
        if self.data.startswith(b"CHIP"):
            return -1
        self.session = onnxruntime.InferenceSession(self.data)
        return 0

    def inference(self, inputs: list) -> list:
        (image,) = inputs
        assert image.shape[0] == 1
        assert image.dtype == np.uint8
        self.count += 1
        if os.environ.get("FAKE_RKNN") == "die" and self.count == 3:
            os._exit(137)
        pixels = image.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        return self.session.run(None, {self.session.get_inputs()[0].name: pixels})

    def release(self) -> None:
        self.session = None
