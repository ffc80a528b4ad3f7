"""Compiled models (.om) as predictors, for evaluation on a machine that holds the chip: by pyACL or by ais_bench.

Neither can be run without an Ascend device; both follow Huawei's documentation and are tested against fakes of it.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloslim.choices import AippInput
from yoloslim.deploy.ascend.aipp import device_input
from yoloslim.deploy.manifest import Manifest
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.evaluation.predictor import GraphPredictor
from yoloslim.runner.acl_session import AclSession
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.heads import in_order


class OmPredictor(GraphPredictor):
    """What both ways to run an .om share: AIPP takes bytes, and outputs come in the compiler's order."""

    def __init__(
        self,
        path: Path,
        graph: Manifest,
        aipp_input: AippInput = "nv12",
        gears: tuple[int, ...] = (),
        device: int = 0,
    ) -> None:
        """Load the model.

        Args:
            path: the .om file.
            graph: manifest of the graph that it was compiled from.
            aipp_input: what it was compiled to be fed.
            gears: batch sizes it was compiled for; empty for the batch of the graph.
            device: number of the chip.

        Raises:
            DeployError: the runtime is missing, or refused: the message holds Huawei's error number and its meaning.
        """
        self.gears, self.device = tuple(sorted(gears)), device
        super().__init__(path, graph, None, partial(device_input, aipp_input), f"aipp-{aipp_input}")
        self.batch: int = max((graph.input_shape[0], 1, *gears))

    def set_threads(self, threads: int) -> None:
        """The chip computes; nothing to set."""

    def batch_for(self, count: int) -> int:
        """See `GraphPredictor.batch_for`: the smallest gear that holds so many."""
        return next((gear for gear in self.gears if gear >= count), self.batch)

    def heads(self, outputs: Sequence[NDArray[Any]]) -> list[Floats]:
        """The outputs in the order of levels. Their shapes tell which is which; names differ between CANN versions."""
        shapes = self.head.outputs(len(self.classes), self.imgsz).values()
        try:
            return in_order(outputs, list(shapes))
        except RunnerError as error:
            raise DeployError(f"{self.path}: {error}; compile the graph that its manifest describes") from error


class AclPredictor(OmPredictor):
    """Runs an .om through pyACL, which comes with Huawei's CANN."""

    runtime = "ascend-acl"
    _session: AclSession | None = None

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        try:
            self._session = AclSession(str(self.path), self.device, self.gears)
        except RunnerError as error:
            raise self.cannot_load(error) from error

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        assert self._session is not None
        try:
            return self.heads(self._session.infer(batch))
        except RunnerError as error:
            raise DeployError(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Give the device's memory back."""
        if self._session is not None:
            self._session.close()


class AisBenchPredictor(OmPredictor):
    """Runs an .om through ais_bench, Huawei's inference tool, whose wheels come with its tools repository."""

    runtime = "ascend-ais_bench"

    def load(self) -> None:
        """See `GraphPredictor.load`."""
        try:
            from ais_bench.infer.interface import InferSession
        except ImportError as error:
            raise self.cannot_load(
                f"Python cannot import ais_bench ({error}); install Huawei's wheels aclruntime and ais_bench"
            ) from error
        try:
            self._session = InferSession(self.device, str(self.path))
        except Exception as error:  # aclruntime raises plain RuntimeError and more, with ACL's number in the text
            raise self.cannot_load(error) from error

    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """See `GraphPredictor.run`."""
        mode = "dymbatch" if self.gears else "static"
        try:
            outputs = self._session.infer([np.ascontiguousarray(batch)], mode=mode)
        except Exception as error:
            raise DeployError(f"ais_bench failed to run {self.path}: {error}") from error
        return self.heads(outputs)

    def compute_ms(self) -> list[float]:
        """Milliseconds that the chip itself took, call by call. Its method was misspelt until version 0.0.2."""
        summary = getattr(self._session, "summary", None) or self._session.sumary
        return [float(value) for value in summary().exec_time_list]
