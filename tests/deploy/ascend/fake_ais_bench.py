"""A FAKE of Huawei's ais_bench: the graph behind the emulated AIPP, its outputs in another order."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from yoloslim.evaluation.predictor import OnnxPredictor


class FakeInferSession:
    """What `ais_bench.infer.interface.InferSession` gives, as far as it is used."""

    source: OnnxPredictor
    gears: tuple[int, ...] = ()
    sizes: list[int]

    def __init__(self, device: int, path: str) -> None:
        if device != 0:
            raise RuntimeError("[ERROR] set device failed 100000")
        self.calls: list[str] = []

    def infer(self, feeds: list[np.ndarray], mode: str) -> list[np.ndarray]:
        (feed,) = feeds
        assert feed.flags["C_CONTIGUOUS"]
        assert feed.dtype == np.uint8
        if mode != ("dymbatch" if self.gears else "static") or (self.gears and len(feed) not in self.gears):
            raise RuntimeError(f"[ERROR] mode {mode} with batch {len(feed)}, the model has {self.gears or 'one'}")
        self.calls.append(mode)
        self.sizes.append(len(feed))
        return self.source.predict(feed)[::-1]

    def sumary(self) -> SimpleNamespace:  # as ais_bench 0.0.2 spells it
        return SimpleNamespace(exec_time_list=[1.5] * len(self.calls))


def load_fake_ais_bench(
    monkeypatch: pytest.MonkeyPatch, source: OnnxPredictor, gears: tuple[int, ...] = ()
) -> type[FakeInferSession]:
    """Let `import ais_bench` give the fake, which runs `source`, in batches of `gears` alone where there are any."""
    FakeInferSession.source, FakeInferSession.gears, FakeInferSession.sizes = source, gears, []
    interface = ModuleType("ais_bench.infer.interface")
    interface.InferSession = FakeInferSession  # type: ignore[attr-defined]
    for name in ("ais_bench", "ais_bench.infer"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "ais_bench.infer.interface", interface)
    return FakeInferSession
