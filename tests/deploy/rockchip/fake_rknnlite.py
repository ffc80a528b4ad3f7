"""A FAKE of Rockchip's rknn-toolkit-lite2: the graph beside the .rknn, in ONNX Runtime."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from yoloslim.deploy.manifest import load_manifest
from yoloslim.evaluation.predictor import OnnxPredictor


class FakeRKNNLite:
    """What `rknnlite.api.RKNNLite` gives, as far as it is used; a file that begins with CHIP is for another chip."""

    def __init__(self, verbose: bool = True) -> None:
        assert not verbose

    def load_rknn(self, path: str) -> int:
        self.file = Path(path)
        return 0

    def init_runtime(self) -> int:
        if self.file.read_bytes().startswith(b"CHIP"):
            return -1
        folder = self.file.parent
        self.source = OnnxPredictor(folder / "model.onnx", load_manifest(folder), 1)
        return 0

    def inference(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        (image,) = inputs
        assert image.shape[0] == 1
        assert image.dtype == np.uint8
        return self.source.predict(image)


def load_fake_rknnlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import rknnlite` give the fake."""
    api = ModuleType("rknnlite.api")
    api.RKNNLite = FakeRKNNLite  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rknnlite", ModuleType("rknnlite"))
    monkeypatch.setitem(sys.modules, "rknnlite.api", api)
