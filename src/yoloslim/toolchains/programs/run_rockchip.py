"""Runs inside the toolchain `rockchip`: ONNX to .rknn, and the compiled graph in the simulator, by rknn-toolkit2."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any


class Refused(Exception):
    """A reason for people."""


def version() -> str:
    """Of rknn-toolkit2."""
    return version_of("rknn-toolkit2")


def self_test(arrays: Any, source: str) -> tuple[dict[str, Any], list[Any]]:
    """Compile a graph for RK3588 in fp16 and simulate it on a float image (1, 3, S, S)."""
    from rknn.api import RKNN

    model = RKNN(verbose=False)
    model.config(target_platform="rk3588")
    _check(model.load_onnx(source), "loading the graph")
    _check(model.build(do_quantization=False), "compiling")
    _check(model.init_runtime(), "starting the simulator")
    return {}, model.inference([arrays[0]], data_format=["nchw"])


def _check(status: int, what: str) -> None:
    if status:
        raise Refused(f"{what} failed")


COMMANDS = {"self_test": self_test}
