"""A compiled model (.rknn) on the NPU of a Rockchip board, through Rockchip's rknn-toolkit-lite2.

No board was at hand: it follows Rockchip's documentation and is tested against a fake of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import RunnerError

COMPATIBLE = Path("/proc/device-tree/compatible")
"""Names the chip of a board, such as `rockchip,rk3588`, words apart by a zero byte."""


def compiled_for(chip: str) -> str:
    """The name that compilers know a chip by: the RK3588S and RK3588J of small and industrial boards run RK3588's."""
    found = re.match(r"rk\d+", chip)
    return found.group() if found else chip


def chip_here() -> str:
    """The chip of this board, as compilers name it; empty if this is none of Rockchip's."""
    try:
        words = COMPATIBLE.read_bytes().decode("ascii", "replace").split("\0")
    except OSError:
        return ""
    return next(
        (compiled_for(word[len("rockchip,") :]) for word in reversed(words) if word.startswith("rockchip,r")), ""
    )


def import_rknnlite() -> Any:
    """The class `RKNNLite`.

    Raises:
        RunnerError: it is not there.
    """
    try:
        from rknnlite.api import RKNNLite
    except ImportError as error:
        raise RunnerError(
            "device",
            f"Python cannot import rknnlite ({error}); on the board: pip install rknn-toolkit-lite2; elsewhere the "
            "simulator runs it (--runtime rknn)",
        ) from error
    return RKNNLite


class RknnSession:
    """One model on the NPU of this machine, one image a call."""

    def __init__(self, path: str, chip: str, shapes: Sequence[Sequence[int]]) -> None:
        """Load the model.

        Args:
            path: the .rknn file.
            chip: that it was compiled for, such as `rk3588`.
            shapes: of its outputs in order, without the batch; the NPU drops sides of 1.

        Raises:
            RunnerError: no `rknnlite`, another chip, or the runtime refused.
        """
        made = import_rknnlite()
        here = chip_here()
        if here and here != chip:
            raise RunnerError(
                "model", f"it was compiled for {chip}, this is an {here}: yoloslim compile --target {here}"
            )
        self._path, self._shapes = path, [tuple(shape) for shape in shapes]
        self._model = made(verbose=False)
        for what, arguments in (("load_rknn", (path,)), ("init_runtime", ())):
            status = getattr(self._model, what)(*arguments)
            if status:
                self.close()
                raise RunnerError(
                    "model",
                    f"rknnlite's {what} returned {status}; the chip, or its runtime librknnrt.so, is another than "
                    f"{chip} and the toolkit that compiled it want",
                )

    def infer(self, images: np.ndarray) -> list[np.ndarray]:
        """Outputs as float32 in order, (1, ...) each, of one image uint8 RGB (1, S, S, 3).

        Raises:
            RunnerError: the NPU failed.
        """
        found = self._model.inference(inputs=[images])
        if found is None:
            raise RunnerError("device", f"rknnlite failed to run {self._path}")
        return [np.ascontiguousarray(head, np.float32).reshape((1, *shape)) for head, shape in zip(found, self._shapes)]

    def close(self) -> None:
        """Give the NPU back."""
        self._model.release()
