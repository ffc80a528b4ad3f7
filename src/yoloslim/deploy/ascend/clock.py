"""Latency of networks on an Ascend device, here or over SSH: each compiled by ATC on this machine and run there."""

import itertools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yoloslim.deploy.ascend.atc import AtcOptions, compile_model, load_result
from yoloslim.deploy.board.device import Device, open_device
from yoloslim.deploy.board.job import BoardRun, prepare_job
from yoloslim.deploy.export_model import export_model
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.models.detector import Detector

IMAGES = 30
"""Random images whose median counts; NMS is no part of it."""
WARMUP = 5


@dataclass(frozen=True)
class OnBoard:
    """Where networks are timed, and what they are compiled for.

    Attributes:
        device: see `open_device`.
        options: of the compilation.
    """

    device: Device
    options: AtcOptions


def named_board(target: str, set_env: str = "", python: str = "python3", **options: Any) -> OnBoard:
    """A device as people name it, see `open_device`, and what else `AtcOptions` takes.

    Raises:
        DeployError: the target makes no sense.
    """
    return OnBoard(open_device(target, set_env, python), AtcOptions(**options))


class BoardClock:
    """Milliseconds of cut networks on a device, each timed right after the dense one that they come from.

    As `Clock`, which times on this machine's CPU: a network's milliseconds are those of the dense one in the first
    session over the speed-up in its own session.

    Attributes:
        dense_ms: of the dense network, median milliseconds an image, copies to and from the chip included.
        machine: `runtime`, its `version`, `threads` (0: the chip's own), and the chip as `processor`.
    """

    def __init__(self, dense: Detector, board: OnBoard) -> None:
        """Compile the dense network and time it.

        Raises:
            DeployError: no ATC here, a network that it refuses, or a device that is none or cannot be reached.
        """
        self._board, self._imgsz, self._sessions = board, dense.spec.imgsz, itertools.count()
        self._kept = tempfile.TemporaryDirectory()
        self._options = replace(board.options, batch_gears=())  # latency is one image's
        self._dense = _compiled(dense, Path(self._kept.name), self._options)
        run = self._run(self._dense)
        self.dense_ms = _median_ms(run)
        facts = load_result(self._dense)
        self.machine: dict[str, Any] = {
            "processor": str(run.facts.get("chip") or facts.soc_version),
            "runtime": run.backend,
            "version": facts.cann_version,
            "threads": 0,
        }

    def speedup(self, model: Detector, images: int = IMAGES) -> float:
        """How many times as fast as the dense network another is, one after the other, by so many images each."""
        with tempfile.TemporaryDirectory() as folder:
            small = _compiled(model, Path(folder), self._options)
            return _median_ms(self._run(self._dense, images)) / _median_ms(self._run(small, images))

    def __call__(self, model: Detector) -> float:
        """Milliseconds of a network, against the dense one's."""
        return self.dense_ms / self.speedup(model)

    def _run(self, bundle: Path, images: int = IMAGES) -> BoardRun:
        """Run a compiled network there, and take away what that leaves."""
        session = next(self._sessions)  # a job of the same content would be found done, and not timed again
        shape = (images, self._imgsz, self._imgsz, 3)
        pixels = np.random.default_rng(session).integers(0, 256, shape, dtype=np.uint8)
        ids = [f"{session}-{i}" for i in range(images)]
        with tempfile.TemporaryDirectory() as folder:
            job = prepare_job(bundle, Path(folder), ids, pixels, NmsOptions(conf_thres=0.25), warmup=WARMUP)
            run = self._board.device.run(job, bundle)
        self._board.device.tidy()
        return run


def _median_ms(run: BoardRun) -> float:
    return float(np.median(run.inference_ms))


def _compiled(model: Detector, folder: Path, options: AtcOptions) -> Path:
    """The bundle of a network in a folder, for the device."""
    export_model(model, folder / "export")
    compile_model(folder / "export", folder / "atc", options, require=True)
    return folder / "atc"
