"""What `benchmarks.race` consists of: what all its trainings have in common, and each of them with its folder."""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.contestants import WAYS
from yoloslim.errors import YoloslimError
from yoloslim.files import read_json
from yoloslim.models.detector import Detector
from yoloslim.models.store import load_model

RESULT, MODEL = "result.json", "model.safetensors"


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the finished runs of a folder have in common, and how this machine works (`device`, `deadline`)."""

    pack: str
    sets: tuple[str, str, str]
    report: str
    model: str
    imgsz: int
    batch: int
    mosaic: float
    dense: str
    epochs: tuple[int, int, int]
    val_every: int
    finetune: tuple[str, float]
    rate: float
    threads: int
    by: str
    gains: tuple[float, float] | None = None
    device: str = "auto"
    deadline: float = float("inf")

    def counts(self) -> dict[str, Any]:
        """What results depend on."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in ("device", "deadline")}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: of the dense model, of a penalty, or of a way at a share of the dense latency."""

    seed: int
    name: str
    share: float = 1.0

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return Path(f"seed{self.seed}") / (f"{self.name}@{self.share:g}" if self.share < 1 else self.name)

    @property
    def needs(self) -> tuple["Run", ...]:
        """The trainings whose models it starts from and learns from, in this order."""
        if self.name == "start":
            return ()
        way = WAYS.get(self.name)
        begin = Run(self.seed, f"sparse-{way.penalty}" if way and way.penalty else "start")
        return (begin, Run(self.seed, way.teacher)) if way and way.distill else (begin,)

    @property
    def is_done(self) -> bool:
        """Whether its result is there."""
        return (self.folder / RESULT).is_file()

    def made(self) -> Detector:
        """Its model.

        Raises:
            YoloslimError: its training failed.
        """
        result = read_json(self.folder / RESULT)
        if "error" in result:
            raise YoloslimError(f"{self.folder} failed: {result['error']}")
        return load_model(self.folder / MODEL)
