"""What a sweep leaves behind, made up in milliseconds."""

from pathlib import Path
from typing import Any

from tests.results.made import deployed, measured
from yoloslim.config.results import SweepPoint, SweepResult
from yoloslim.config.sweep import Constraints
from yoloslim.files import write_json


def point(percent: int, status: Any = "finetuned", map50: float = 0.78, fps: float = 250) -> SweepPoint:
    left = 1 - percent / 100
    finetuned = status == "finetuned"
    return SweepPoint(
        name=str(percent),
        percent=percent,
        status=status,
        why="bisection",
        error="exited with 1" if status == "failed" else "",
        before=measured(map50 / 2, 2 * left, "pytorch-cpu", 100) | {"percent_effective": percent - 0.4},
        after=measured(map50, 2 * left, "pytorch-cpu", 100) if finetuned else {},
        deployed=deployed(map50 - 0.002, fps, 7 * left) | {"params_m": 2 * left, "gflops": 8 * left}
        if finetuned
        else {},
    )


def sweep(*points: SweepPoint, winner: str | None = "50", name: str = "nightly") -> SweepResult:
    return SweepResult(
        name=name,
        objective="fastest",
        constraints=Constraints(max_map_drop=0.03),
        axes={"percent": (10, 90, 1)},
        baseline=deployed(0.8, 150, 7.0) | {"params_m": 2.0},
        sparse=measured(0.78, 2.0, "pytorch-cpu", 100),
        cliff=40,
        points=points,
        front=("50",),
        winner=winner,
        why="50 % is the fastest that keeps its mAP",
        probes=sum(p.status == "probed" for p in points),
        finetunings=sum(p.status == "finetuned" for p in points),
        grid_finetunings=81,
        seconds=12.5,
    )


def leave(root: Path, result: SweepResult) -> None:
    write_json(root / "metrics" / "sweep.json", result.model_dump(mode="json"))
