"""A fake of `dvc repro` for tests of the loop around it: stages are functions, results made-up curves, no process runs.

It does what the loop relies on: a stage runs once for the same parameters, and a failure names its reason.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sweeping.curves import BASELINE, SPARSE, Curves
from yoloslim.orchestration.process import CommandError

ROOT = Path(__file__).parents[2]


class FakeDvc:
    """Attributes:
    ran: stages that ran, in order.
    leased: targets of each call, and whether it was for every device.
    broken: stage -> errors that it fails with, one each time.
    dense: metrics of the dense models, baseline and control.
    times: name of a model -> what the one session that times all of them finds.
    """

    def __init__(self, root: Path, curves: Curves, monkeypatch: pytest.MonkeyPatch, **sweep: Any) -> None:
        self.root, self.curves, self.monkeypatch = root, curves, monkeypatch
        self.ran: list[str] = []
        self.leased: list[tuple[Sequence[str], bool]] = []
        self.active: set[str] = set()
        self.broken: dict[str, list[str]] = {}
        self.dense = {"baseline": BASELINE, "control/dense": BASELINE}
        self.times: dict[str, dict[str, float]] = {}
        self.before: Callable[[str], None] = lambda stage: None
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["percents"], params["tracking"]["enabled"] = [], False
        params["sweep"] |= {"step": 5, "retries": 1} | sweep
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        for module in ("yoloslim.orchestration.points", "yoloslim.orchestration.variant_run"):
            monkeypatch.setattr(f"{module}.reproduce", self.reproduce)
        monkeypatch.setattr("yoloslim.orchestration.variant_run.PAUSES_S", (0.0,))

    def reproduce(
        self,
        targets: Sequence[str],
        checkout: Path,
        log: str,
        listen: Callable[[str], None] = lambda line: None,
        *,
        single: bool = False,
        everything: bool = False,
        fds: Sequence[int] = (),
    ) -> None:
        params = yaml.safe_load((checkout / "params.yaml").read_text())
        self.leased.append((targets, everything))
        for target in targets:
            stage, _, item = target.partition("@")
            path = checkout / "metrics" / stage / f"{item}.json"
            if item.isdecimal():
                assert int(item) in params["probes" if stage == "probe" else "percents"]
            if item and path.is_file():
                continue
            self.active.add(target)
            try:
                self.before(target)
            finally:
                self.active.discard(target)
            self.ran.append(target)
            if self.broken.get(target):
                raise CommandError(self.broken[target].pop(0))
            self.write(path, self.measure(stage, int(item) if item.isdecimal() else 0))
        for name, metrics in self.dense.items():
            self.write(checkout / "metrics" / "ascend_eval" / f"{name}.json", metrics)
        self.write(checkout / "metrics" / "sparse.json", SPARSE)
        self.write(checkout / "metrics" / "timing.json", {"backend": BASELINE.get("backend"), "models": self.times})

    def measure(self, stage: str, percent: int) -> dict[str, float]:
        cut = self.curves.deployed(percent) | self.curves.before(percent)
        return cut if stage in ("probe", "prune") else self.curves.deployed(percent)

    def write(self, path: Path, value: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def count(self, stage: str) -> int:
        return sum(name.startswith(f"{stage}@") for name in self.ran)
